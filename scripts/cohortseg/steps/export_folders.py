"""`cohortseg export`: results of the command line or of the workflow to files for other programs."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cohortseg.errors import CohortsegError, MissingExtraError, MissingFileError, SettingsError
from cohortseg.exports import CellSource
from cohortseg.settings import EXPORT_FILES, ExportFormat
from cohortseg.steps.export import Exported, export_file
from cohortseg.steps.planes import polygons_of, read_metadata
from cohortseg.steps.rasterise import shape_of_polygons
from cohortseg.stores.location import Location, image_location

# Each holds a chunk of pixels.
_MOST_WORKERS = 8


def export_folders(
    folders: Sequence[Path],
    formats: Sequence[ExportFormat],
    output: Path | None,
    image_folder: Path,
    *,
    with_image: bool,
) -> Iterator[str]:
    """Write files of the formats for each folder of results, and yield a line about each: its path, or what failed.

    Where one file fails, the others are written nevertheless.

    Parameters
    ----------
    folders
        Each holds polygons.parquet, or folders with one. cells.parquet and metadata.json beside it are used where they
        are there.
    output
        Where a folder for each sample goes; None for `exports` beside the polygons.
    image_folder
        What relative paths of images in metadata.json start at.
    with_image
        Copy the image into SpatialData.

    Raises
    ------
    MissingFileError
        A folder holds no results.
    SettingsError
        Two samples would be written to the same folder.
    MissingExtraError
        A library is not installed.
    CohortsegError
        Files failed; the class is that of the first, or this is it where no other file was asked for.
    """
    found = [polygons for folder in folders for polygons in polygons_of(folder)]
    targets = [_target(polygons, output) for polygons in found]
    twice = [str(target) for target, n in Counter(targets).items() if n > 1]
    if twice:
        raise SettingsError(
            f"two samples would be written to {twice[0]}",
            "each needs a folder of its own",
            "Export them one after the other, with another --output.",
        )
    wanted = [(polygons, target, chosen) for polygons, target in zip(found, targets, strict=True) for chosen in formats]
    failures: list[CohortsegError] = []
    for polygons, target, chosen in wanted:
        file = target / EXPORT_FILES[chosen]
        try:
            exported = _exported(polygons, image_folder if with_image and chosen == "spatialdata" else None)
            export_file(file, exported, workers=min(os.cpu_count() or 1, _MOST_WORKERS))
        except MissingExtraError:
            raise
        except CohortsegError as error:
            if len(wanted) == 1:
                raise
            failures.append(error)
            yield f"{file}: FAILED: {error}"
        else:
            yield str(file)
    if failures:
        raise type(failures[0])(
            f"{len(failures)} of {len(wanted)} files were not written",
            "the others are done",
            "See the lines above for each cause.",
        )


def _target(polygons: Path, output: Path | None) -> Path:
    folder = polygons.parent.resolve()
    return folder / "exports" if output is None else output / folder.name


def _exported(polygons: Path, image_folder: Path | None) -> Exported:
    metadata, cells = polygons.with_name("metadata.json"), polygons.with_name("cells.parquet")
    facts, shape = read_metadata(metadata) if metadata.is_file() else ({}, shape_of_polygons(polygons))
    source = CellSource(polygons.parent.resolve().name, polygons, cells if cells.is_file() else None, facts)
    return Exported(source, shape, None if image_folder is None else _image(facts, polygons, image_folder))


def _image(facts: dict[str, Any], polygons: Path, image_folder: Path) -> Location:
    """Return where the image of a sample lies."""
    named = image_location(str(facts.get("image", "")))
    location = image_folder / named if isinstance(named, Path) else named
    if "image" not in facts or (isinstance(location, Path) and not location.exists()):
        raise MissingFileError(
            f"the image of {polygons.parent} is not at {location}",
            "it is copied into spatialdata.zarr",
            "Run this where the image was segmented from, or with --no-image.",
        )
    return location
