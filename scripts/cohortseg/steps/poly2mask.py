"""`cohortseg poly2mask`: polygons of any origin to label pyramids, without a workflow."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cohortseg.settings import RasteriseSettings, load_block
from cohortseg.steps.planes import polygons_of, read_metadata
from cohortseg.steps.progress import pixel_bar
from cohortseg.steps.rasterise import rasterise_file, shape_of_polygons

# Each holds a shard, 64 MiB by default.
_MOST_WORKERS = 8


def masks_of_folder(folder: Path, output: Path | None, given: Mapping[str, Any]) -> Iterator[Path]:
    """Draw the polygons.parquet of a folder, or of each of its folders, and yield the masks.

    The shape comes from metadata.json where there is one, else from the largest coordinates.

    Parameters
    ----------
    folder
        Holds polygons.parquet, or folders with one.
    output
        Where the masks go; None for beside the polygons.
    given
        Fields of `RasteriseSettings`; the others keep their defaults.

    Raises
    ------
    SettingsError
        If a given field has no such value.
    MissingFileError
        If there are no polygons.
    """
    settings = load_block(RasteriseSettings, given)
    for polygons in polygons_of(folder):
        target = polygons.parent if output is None else output / polygons.parent.relative_to(folder)
        yield _draw(polygons, target / "mask.zarr", settings)


def _draw(polygons: Path, mask: Path, settings: RasteriseSettings) -> Path:
    metadata = polygons.with_name("metadata.json")
    facts, shape = read_metadata(metadata) if metadata.is_file() else ({}, shape_of_polygons(polygons))
    name = polygons.parent.resolve().name
    with pixel_bar(name, math.prod(shape)) as on_read:
        rasterise_file(
            polygons,
            mask,
            settings,
            shape=shape,
            name=name,
            pixel_size_um=facts.get("pixel_size_um"),
            workers=min(os.cpu_count() or 1, _MOST_WORKERS),
            on_read=on_read,
        )
    return mask
