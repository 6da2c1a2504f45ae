"""The sheet of a training: labelled images, what kind each is, and whether it trains or tests the network."""

import os.path
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from cohortseg.errors import CohortsegError
from cohortseg.settings.fields import NAME_PATTERN, Channels, FrozenModel
from cohortseg.settings.load import describe_faults
from cohortseg.settings.sheet import Row, refuse_faults, repeated_names, split_channels

Split = Literal["train", "test"]


class TrainingColumns(FrozenModel):
    """The columns of a training sheet; those without a default are needed."""

    sample: str = Field(pattern=NAME_PATTERN, description="Unique name of the image.")
    image: str = Field(min_length=1, description="Image file, relative to the sheet or absolute.")
    labels: str = Field(min_length=1, description="Its label image: 0 is background, any other value is one cell.")
    kind: str = Field(
        min_length=1,
        max_length=200,
        description="Kind of image, such as fluorescence; crops are drawn and scores are told by it.",
    )
    split: Split = Field(description="`train` for the images to learn from, `test` for those kept apart.")
    channels: Annotated[Channels | None, BeforeValidator(split_channels)] = Field(
        default=None,
        description="Names or 0-based indices in the network's order, comma-separated; empty: the first, or of a "
        "colour image a mix of R, G and B that changes from crop to crop.",
    )
    flags: str | None = Field(
        default=None,
        min_length=1,
        description="flags.tsv of the cohort that `labels` are results of, relative to the sheet or absolute: cells "
        "flagged there as wrong, merged, split or outline neither teach nor count.",
    )
    flags_sample: str | None = Field(
        default=None, min_length=1, description="What the image is called in `flags`; empty: as in this sheet."
    )


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """One labelled image; the paths are absolute.

    Attributes
    ----------
    flags
        File in which cells of the labels are flagged; None where none is.
    flags_sample
        What the image is called there.
    """

    sample: str
    image: str
    labels: str
    kind: str
    split: Split
    channels: tuple[str | int, ...] | None = None
    flags: str | None = None
    flags_sample: str = ""


def parse_training_sheet(
    rows: Sequence[Row],
    base: str,
    sheet: str,
    exists: Callable[[str], bool],
    flagged_samples: Callable[[str], Collection[str]],
) -> tuple[TrainingSample, ...]:
    """Return the samples of a training sheet, in its order.

    Parameters
    ----------
    rows
        The rows as text, without the header.
    base
        Folder of the sheet; relative paths start there.
    sheet
        How messages call the sheet.
    exists
        Whether a path is there; apart, so that this function reads no disk.
    flagged_samples
        Gives the names of the images in a file of flags; a CohortsegError of it becomes a fault of the row.

    Raises
    ------
    SampleSheetError
        Lists all faults of all rows.
    """
    found: list[tuple[int, str]] = []
    samples = []
    for row in rows:
        given = {name: text for name, text in row.values.items() if text and name in TrainingColumns.model_fields}
        try:
            columns = TrainingColumns.model_validate(given)
        except ValidationError as error:
            faults = describe_faults(TrainingColumns, error)
            found += [(row.line, f"column {name}: {text}") for name, text in faults]
            continue
        sample = _absolute(columns, base)
        found += [(row.line, fault) for fault in _path_faults(sample, exists)]
        if sample.flags is None and columns.flags_sample:
            found.append((row.line, "flags_sample is given but flags is not"))
        if sample.flags is not None and exists(sample.flags):
            found += [(row.line, fault) for fault in _flag_faults(sample.flags, sample.flags_sample, flagged_samples)]
        samples.append(sample)
    refuse_faults(sheet, rows, found + repeated_names(rows), list(TrainingColumns.model_fields))
    return tuple(samples)


def _absolute(columns: TrainingColumns, base: str) -> TrainingSample:
    def absolute(path: str) -> str:
        return os.path.abspath(os.path.join(base, path))

    return TrainingSample(
        columns.sample,
        absolute(columns.image),
        absolute(columns.labels),
        columns.kind,
        columns.split,
        columns.channels,
        None if columns.flags is None else absolute(columns.flags),
        columns.flags_sample or columns.sample,
    )


def _path_faults(sample: TrainingSample, exists: Callable[[str], bool]) -> list[str]:
    named = {"image": sample.image, "labels": sample.labels, "flags": sample.flags}
    return [f"{name} {path} does not exist" for name, path in named.items() if path and not exists(path)]


def _flag_faults(flags: str, name: str, flagged_samples: Callable[[str], Collection[str]]) -> list[str]:
    try:
        known = flagged_samples(flags)
    except CohortsegError as error:
        return [f"flags {flags} cannot be used: {error.found}"]
    # A wrong name would silently teach what was flagged.
    return [] if name in known else [f"flags {flags} has no flag of '{name}'; correct flags_sample, or empty flags"]
