"""The sheet of a training: labelled images, what kind each is, and whether it trains or tests the network."""

import os.path
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from cohortseg.settings.fields import NAME_PATTERN, Channels, FrozenModel
from cohortseg.settings.load import describe_faults
from cohortseg.settings.sheet import Row, refuse_faults, repeated_names, split_channels

Split = Literal["train", "test"]


class TrainingColumns(FrozenModel):
    """The columns of a training sheet; every one but `channels` is needed."""

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


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """One labelled image; the paths are absolute."""

    sample: str
    image: str
    labels: str
    kind: str
    split: Split
    channels: tuple[str | int, ...] | None = None


def parse_training_sheet(
    rows: Sequence[Row], base: str, sheet: str, exists: Callable[[str], bool]
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
        image, labels = (os.path.abspath(os.path.join(base, path)) for path in (columns.image, columns.labels))
        named = (("image", image), ("labels", labels))
        found += [(row.line, f"{name} {path} does not exist") for name, path in named if not exists(path)]
        samples.append(TrainingSample(columns.sample, image, labels, columns.kind, columns.split, columns.channels))
    refuse_faults(sheet, rows, found + repeated_names(rows), list(TrainingColumns.model_fields))
    return tuple(samples)
