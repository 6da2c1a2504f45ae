"""`cohortseg poly2mask`: polygons of any origin to label pyramids, without a workflow."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from cohortseg.errors import MissingFileError
from cohortseg.settings import RasteriseSettings
from cohortseg.steps.planes import read_metadata
from cohortseg.steps.progress import pixel_bar
from cohortseg.steps.rasterise import rasterise_file, shape_of_polygons

# Each holds a shard, 64 MiB by default.
_MOST_WORKERS = 4


def masks_of_folder(folder: Path, output: Path | None) -> Iterator[Path]:
    """Draw the polygons.parquet of a folder, or of each of its folders, and yield the masks.

    The shape comes from metadata.json where there is one, else from the largest coordinates.

    Raises
    ------
    MissingFileError
        If there are no polygons.
    """
    own = folder / "polygons.parquet"
    found = [own] if own.is_file() else sorted(folder.glob("*/polygons.parquet"))
    if not found:
        raise MissingFileError(
            f"{folder} holds no polygons.parquet",
            "a folder of `cohortseg infer`, or one with such folders, was expected",
            "Correct the path, or run `cohortseg infer` first.",
        )
    for polygons in found:
        target = polygons.parent if output is None else output / polygons.parent.relative_to(folder)
        yield _draw(polygons, target / "mask.zarr")


def _draw(polygons: Path, mask: Path) -> Path:
    metadata = polygons.with_name("metadata.json")
    facts, shape = read_metadata(metadata) if metadata.is_file() else ({}, shape_of_polygons(polygons))
    name = polygons.parent.resolve().name
    with pixel_bar(name, math.prod(shape)) as on_read:
        rasterise_file(
            polygons,
            mask,
            RasteriseSettings(),
            shape=shape,
            name=name,
            pixel_size_um=facts.get("pixel_size_um"),
            workers=min(os.cpu_count() or 1, _MOST_WORKERS),
            on_read=on_read,
        )
    return mask
