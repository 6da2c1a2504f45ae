"""The sample sheet: from rows of text to samples with their effective settings."""

import os.path
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Annotated, Any, Literal, Protocol

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from cohortseg.errors import CohortsegError, SampleSheetError
from cohortseg.settings.fields import NAME_PATTERN, Channels, FrozenModel, ImageType, Scatter, is_url
from cohortseg.settings.load import describe_faults, suggest
from cohortseg.settings.modality import ModalityChoice
from cohortseg.settings.models import SegmentSettings, Settings

RESERVED_NAMES = frozenset({"cohort", "compare", "stacks", "train"})
"""Folders of the results that are no samples."""


class Row(Protocol):
    """One row of the sheet as text: its line in the file and the value of each column."""

    @property
    def line(self) -> int:
        """Line in the file, from 1."""

    @property
    def values(self) -> Mapping[str, str]:
        """Text by column; an empty text is the same as no column."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of the cohort.

    Parameters
    ----------
    sample
        Unique name.
    image, labels
        Absolute paths, or the URL, of the image and, where known, the path of its ground truth.
    nuclei
        The sample whose cells are the nuclei of this one's.
    stack, z_index
        The 3D stack that the image is a plane of, and its position there; both or neither.
    segment
        The config with this row's overrides applied.
    scatter
        Jobs that the image is cut into; `auto` where its size decides.
    batch
        Images that its job handles, one after the other; 1 for jobs of its own.
    """

    sample: str
    image: str
    stack: str | None
    z_index: int | None
    labels: str | None
    nuclei: str | None
    segment: SegmentSettings
    scatter: Scatter
    batch: int


ALL_PLANES = "all"
"""What `plane` says where each plane of a file is a sample."""


def _read_plane(text: Any) -> Any:
    if text == ALL_PLANES or not isinstance(text, str):
        return text
    if not (text.isascii() and text.isdigit()):
        raise PydanticCustomError("plane", "Input should be a plane's number, from 0, or all")
    return int(text)


def split_channels(text: Any) -> Any:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


def _overrides(key: str) -> Any:
    field = Settings.model_fields[key]
    return Field(default=None, description=f"Overrides `{key}` of the config. {field.description}")


class SheetColumns(FrozenModel):
    """The columns of the sample sheet, config/samples.tsv; an empty cell is the same as no column."""

    model_config = ConfigDict(strict=False)

    sample: str = Field(pattern=NAME_PATTERN, description="Unique name of the sample.")
    image: str = Field(min_length=1, description="Image file, relative to the sheet or absolute, or its URL.")
    stack: str | None = Field(
        default=None, pattern=NAME_PATTERN, description="The 3D stack that the image is a plane of."
    )
    z_index: int | None = Field(default=None, description="Position of the plane in its stack, unique there.")
    channels: (
        Annotated[Channels, BeforeValidator(split_channels), WithJsonSchema({"type": "string", "minLength": 1})] | None
    ) = _overrides("channels")
    model: str | None = _overrides("model")
    diameter: float | None = _overrides("diameter")
    diameter_um: float | None = _overrides("diameter_um")
    pixel_size_um: float | None = _overrides("pixel_size_um")
    override_pixel_size: bool | None = _overrides("override_pixel_size")
    invert: bool | None = _overrides("invert")
    modality: ModalityChoice | None = _overrides("modality")
    image_type: ImageType | None = _overrides("image_type")
    series: int | None = _overrides("series")
    level: int | None = _overrides("level")
    plane: Annotated[int | Literal["all"], BeforeValidator(_read_plane)] | None = Field(
        default=None,
        description="Overrides `plane` of the config. all: each plane of the file is a sample of its own, "
        "`{sample}_z000` and on, and together they are a stack, which is called like the sample unless `stack` says.",
    )
    scatter: Scatter | None = _overrides("scatter")
    batch: Annotated[int, Field(ge=1, le=10_000)] | None = _overrides("batch")
    labels: str | None = Field(
        default=None, min_length=1, description="Ground truth, a label image; relative to the sheet or absolute."
    )
    nuclei: str | None = Field(
        default=None,
        pattern=NAME_PATTERN,
        description="The sample, another row with an image of the same size, whose cells are the nuclei of this row's: "
        "they are measured apart.",
    )


_OVERRIDES = tuple(name for name in SheetColumns.model_fields if name in SegmentSettings.model_fields)


CountPlanes = Callable[[str, SegmentSettings], int]
"""Tells how many planes an image file has, opened with these settings; 0 where that cannot be known now. A
CohortsegError of it becomes a fault of the row."""


def parse_sheet(
    rows: Sequence[Row], base: str, settings: Settings, exists: Callable[[str], bool], count_planes: CountPlanes
) -> tuple[Sample, ...]:
    """Return the samples of a sheet, in its order.

    Parameters
    ----------
    rows
        The rows as text, without the header.
    base
        Folder of the sheet; relative paths start there.
    settings
        The config, which each row may override.
    exists
        Whether a path is there; apart, so that this function reads no disk.
    count_planes
        Asked for rows of which `plane` is all.

    Raises
    ------
    SampleSheetError
        Lists all faults of all rows.
    """
    found: list[tuple[int, str]] = []
    samples: list[tuple[int, Sample]] = []
    for row in rows:
        sample, wrong = _parse_row(row, base, settings, exists)
        if sample is not None and row.values.get("plane") == ALL_PLANES:
            planes, more = ((), []) if wrong else _expand(sample, count_planes)
            samples += [(row.line, plane) for plane in planes]
            wrong = wrong + more
        elif sample is not None:
            samples.append((row.line, sample))
        found += [(row.line, text) for text in wrong]
    found += repeated_names(rows) + _repeated_samples(samples) + _repeated_planes(samples)
    found += _nuclei_faults(rows, samples)
    refuse_faults(settings.samples, rows, found, list(SheetColumns.model_fields))
    return tuple(sample for _, sample in samples)


def refuse_faults(sheet: str, rows: Sequence[Row], found: Sequence[tuple[int, str]], legal: Sequence[str]) -> None:
    """Raise one SampleSheetError for the faults found by line, unknown columns and a sheet without rows, if any."""
    names = {row.line: row.values.get("sample", "") for row in rows}
    faults = [] if rows else ["it has no rows"]
    faults += _unknown_columns(rows, legal)
    faults += [f"row {line}, sample '{names[line]}': {text}" for line, text in sorted(found, key=itemgetter(0))]
    if faults:
        noun = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise SampleSheetError(
            f"the sample sheet {sheet} has {noun}",
            "each has to be put right before any job starts:\n  " + ".\n  ".join(faults),
            "\nCorrect the sheet; config/README.md explains its columns.",
        )


def _unknown_columns(rows: Sequence[Row], legal: Sequence[str]) -> list[str]:
    found = dict.fromkeys(name for row in rows for name in row.values)
    unknown = [name for name in found if name not in legal]
    return [f"column '{name}' is unknown; {suggest(name, legal)}allowed: {', '.join(legal)}" for name in unknown]


def _parse_row(
    row: Row, base: str, settings: Settings, exists: Callable[[str], bool]
) -> tuple[Sample | None, list[str]]:
    """Return the sample, or None where it cannot be made, and the faults of the row."""
    given = {name: text for name, text in row.values.items() if text and name in SheetColumns.model_fields}
    try:
        columns = SheetColumns.model_validate(given)
        segment = _effective(settings, columns)
    except ValidationError as error:
        return None, [f"column {name}: {text}" for name, text in describe_faults(SheetColumns, error)]
    paths = {"image": columns.image, "labels": columns.labels}
    absolute = {name: _absolute(base, path) for name, path in paths.items() if path}
    faults = [
        f"{name} {path} does not exist" for name, path in absolute.items() if not is_url(path) and not exists(path)
    ]
    if is_url(columns.labels or ""):
        faults.append("labels is a URL; a file of this computer was expected")
    if columns.sample.lower() in RESERVED_NAMES:
        faults.append(f"the name is reserved; any but {', '.join(sorted(RESERVED_NAMES))} will do")
    if columns.plane == ALL_PLANES:
        if columns.z_index is not None:
            faults.append("z_index is given but plane is all: the planes are numbered from 0; leave z_index empty")
    elif columns.stack is not None and columns.z_index is None:
        faults.append(f"it is in stack '{columns.stack}' but has no z_index")
    elif columns.stack is None and columns.z_index is not None:
        faults.append(f"it has z_index {columns.z_index} but no stack")
    sample = Sample(
        sample=columns.sample,
        image=absolute["image"],
        stack=columns.stack,
        z_index=columns.z_index,
        labels=absolute.get("labels"),
        nuclei=columns.nuclei,
        segment=segment,
        scatter=settings.scatter if columns.scatter is None else columns.scatter,
        batch=settings.batch if columns.batch is None else columns.batch,
    )
    return sample, faults


def _absolute(base: str, path: str) -> str:
    return path if is_url(path) else os.path.abspath(os.path.join(base, path))


def _effective(settings: Settings, columns: SheetColumns) -> SegmentSettings:
    overrides = {name: getattr(columns, name) for name in _OVERRIDES if getattr(columns, name) is not None}
    if columns.plane == ALL_PLANES:
        overrides["plane"] = 0
    if "model" in overrides:
        # the config's files belong to the config's model, not to this row's
        overrides |= {"model_path": None, "size_model_path": None}
    return SegmentSettings.model_validate(settings.segment_settings().overriding(overrides))


def _expand(sample: Sample, count_planes: CountPlanes) -> tuple[Sequence[Sample], list[str]]:
    """Return each plane of a file as a sample of one stack, and what is wrong with that."""
    counts = []
    # Labels are opened by what they are, whatever the settings say of the image.
    for kind, path, opened in (("image", sample.image, sample.segment), ("labels", sample.labels, SegmentSettings())):
        try:
            counts.append(0 if path is None else count_planes(path, opened))
        except CohortsegError as error:
            return (), [f"plane is all but the planes of {kind} {path} cannot be counted: {error.found}"]
    number, labelled = counts
    if number == 1:
        return (), [f"plane is all but {sample.image} has one plane; leave plane empty"]
    if number and labelled and labelled != number:
        return (), [f"plane is all; the image has {number} planes and labels {sample.labels} has {labelled}"]
    stack = sample.stack or sample.sample
    width = max(3, len(str(number - 1)))
    return [
        replace(
            sample,
            sample=f"{sample.sample}_z{z_index:0{width}d}",
            stack=stack,
            z_index=z_index,
            nuclei=sample.nuclei and f"{sample.nuclei}_z{z_index:0{width}d}",
            segment=sample.segment.model_copy(update={"plane": z_index}),
        )
        for z_index in range(number)
    ], []


def _repeated_samples(samples: Sequence[tuple[int, Sample]]) -> list[tuple[int, str]]:
    """Return line and fault of each row of which a plane is called like a sample of another row."""
    first: dict[str, int] = {}
    planes = Counter(line for line, _ in samples)
    faults = {}
    for line, sample in samples:
        earlier = first.setdefault(sample.sample.lower(), line)
        if earlier != line and max(planes[line], planes[earlier]) > 1:
            faults[line] = f"the name '{sample.sample}' is used by row {earlier} too; plane is all in one of them"
    return list(faults.items())


def repeated_names(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """Return line and fault of each sample whose name an earlier row has, upper and lower case being the same."""
    first: dict[str, Row] = {}
    faults = []
    for row in rows:
        name = row.values.get("sample", "")
        earlier = first.setdefault(name.lower(), row)
        if name and earlier is not row:
            spelt = earlier.values["sample"]
            alike = "" if spelt == name else f", there '{spelt}': upper and lower case count as the same"
            faults.append((row.line, f"the name is already used by row {earlier.line}{alike}"))
    return faults


def _repeated_planes(samples: Sequence[tuple[int, Sample]]) -> list[tuple[int, str]]:
    planes: dict[tuple[str, int], int] = {}
    spelt: dict[str, tuple[str, int]] = {}
    # by line, so that a row of all planes is told once
    faults: dict[tuple[int, str], str] = {}
    for line, sample in samples:
        if sample.stack is None or sample.z_index is None:
            continue
        name, where = spelt.setdefault(sample.stack.lower(), (sample.stack, line))
        if name != sample.stack:
            faults[line, "case"] = f"stack '{sample.stack}' differs from '{name}' of row {where} in case only"
        earlier = planes.setdefault((sample.stack, sample.z_index), line)
        if earlier != line:
            text = f"z_index {sample.z_index} of stack '{sample.stack}' is already used by row {earlier}"
            faults.setdefault((line, "plane"), text)
    return [(line, text) for (line, _), text in faults.items()]


def _nuclei_faults(rows: Sequence[Row], samples: Sequence[tuple[int, Sample]]) -> list[tuple[int, str]]:
    """Return line and fault of each row whose `nuclei` cannot be those of its cells, once a line."""
    known = {sample.sample: sample for _, sample in samples}
    # Rows of which nothing was made have faults of their own, or planes that cannot be counted now.
    made = {line for line, _ in samples}
    unmade = [row.values.get("sample", "") for row in rows if row.line not in made]
    stacks: dict[str, str] = {}
    faults: dict[int, str] = {}
    for line, sample in samples:
        name = sample.nuclei
        if name is None or any(name == each or name.startswith(f"{each}_z") for each in unmade):
            continue
        nuclei = known.get(name)
        fault = _missing_nuclei(name, sample, known) if nuclei is None else _wrong_nuclei(sample, nuclei)
        if fault is None and nuclei is not None and sample.stack and nuclei.stack:
            first = stacks.setdefault(sample.stack, nuclei.stack)
            if first != nuclei.stack:
                fault = f"nuclei '{name}' is of stack '{nuclei.stack}', those of other planes are of stack '{first}'"
        if fault is not None:
            faults.setdefault(line, fault)
    return list(faults.items())


def _missing_nuclei(name: str, sample: Sample, known: Mapping[str, Sample]) -> str:
    first_plane = f"{name}_z000"
    if first_plane in known:
        hint = f"plane is all in its row: name one of its planes, such as {first_plane}"
    elif sample.segment.plane is not None and sample.sample.endswith(name[name.rfind("_z") :]):
        hint = "where plane is all, the row of the nuclei has plane all, too, and as many planes"
    else:
        hint = suggest(name, list(known)).strip() or "name another row"
    return f"nuclei '{name}' is no sample of this sheet; {hint}"


def _wrong_nuclei(sample: Sample, nuclei: Sample) -> str | None:
    if nuclei.sample == sample.sample:
        return "nuclei names the row itself; name the row in which the nuclei are segmented"
    if nuclei.nuclei is not None:
        return f"nuclei '{nuclei.sample}' has nuclei itself, '{nuclei.nuclei}'; only the cells' row names nuclei"
    if None not in (sample.z_index, nuclei.z_index) and sample.z_index != nuclei.z_index:
        return f"it has z_index {sample.z_index}, its nuclei '{nuclei.sample}' have z_index {nuclei.z_index}"
    return None
