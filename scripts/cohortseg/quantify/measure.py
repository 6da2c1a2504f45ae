"""One table of measurements from a segmentation and its image, streamed by blocks."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.errors import TableError
from cohortseg.kernels.measure import add_sums, empty_sums
from cohortseg.quantify.intensity import Intensities, prefixes
from cohortseg.quantify.shape import describe_shape
from cohortseg.stores.source import ImageSource
from cohortseg.tiling.blocks import blocks


@dataclass(frozen=True)
class Wanted:
    """What is measured of an image's channels.

    Parameters
    ----------
    channels, names
        Which channels, and the name of each.
    statistics, percentiles
        What of each; see `quantify.intensity.Intensities`.
    """

    channels: Sequence[int]
    names: Sequence[str]
    statistics: Sequence[str] = ("mean",)
    percentiles: Sequence[float] = ()

    def columns(self) -> list[str]:
        """Return the names of the columns, those of the first channel first."""
        names = channel_names(self.channels, self.names)
        while True:
            columns = [f"{prefix}_{name}" for name in names for prefix in prefixes(self.statistics, self.percentiles)]
            if len({column.casefold() for column in columns}) == len(columns):
                return columns
            # Such as p2_5 of A, and p2 of a channel that is called 5_A.
            names = [f"{name}_{channel}" for channel, name in zip(self.channels, names, strict=True)]


_NEEDED = ("cell_id", "geometry", "score", "touches_edge")


def measure_cells(
    read_labels: Callable[[Box], Labels],
    source: ImageSource,
    wanted: Wanted,
    polygons: gpd.GeoDataFrame,
    *,
    block_px: int,
    pixel_size_um: float | None,
) -> pd.DataFrame:
    """Measure every cell of an image.

    Parameters
    ----------
    read_labels
        Gives the labels of any box of the image; 0 is background, other values are the polygons' `cell_id`.
    source
        The image, of the labels' shape.
    wanted
        What is measured of which channels.
    polygons
        The same cells as `polygons.parquet` has them: `cell_id`, `geometry`, `score`, `touches_edge` are used.
    block_px
        Side of the blocks that are read at a time.
    pixel_size_um
        Side of a pixel, None where not known.

    Returns
    -------
    DataFrame
        One row a cell, sorted by `cell_id`: `area_px` (int64), `area_um2` (NaN without a pixel size),
        `centroid_x`, `centroid_y`, `perimeter_px`, `major_axis_px`, `minor_axis_px`, `eccentricity`,
        `orientation_rad` (all of them as `describe_shape` defines them), `solidity` (area of the polygon over
        that of its convex hull; 1 for a rectangle), `touches_edge`, `score`, and for each channel its statistics and
        percentiles, `mean_<channel>`, `p5_<channel>` and so on, with characters other than letters, digits and _
        in its name replaced, and its index appended where two would be the same. They are numpy's, of all pixels of the
        cell; NaN where a pixel is.

    Raises
    ------
    TableError
        The polygons lack a column, repeat a `cell_id`, or do not have a cell that the labels have.
    ImageError
        From `source`: a block cannot be read.
    """
    polygons = _checked(polygons)
    geometries = np.asarray(polygons["geometry"])
    cell_ids = polygons["cell_id"].to_numpy().astype(np.uint32)
    sums = empty_sums(cell_ids, _anchors(geometries))
    last = _last_blocks(geometries, source.shape, block_px)
    intensities = Intensities(cell_ids, last, len(wanted.channels), wanted.statistics, wanted.percentiles)
    for number, box in enumerate(blocks(source.shape, block_px) if len(polygons) else ()):
        labels = _labels_with_rim(read_labels, box, source.shape)
        if labels[1:-1, 1:-1].any():  # else the image is not even read
            add_sums(labels, (box.y0, box.x0), sums)
            intensities.add(number, labels[1:-1, 1:-1], source.read(wanted.channels, box))
        intensities.end(number)
    table = describe_shape(sums)
    table.insert(0, "cell_id", polygons["cell_id"].to_numpy().astype(np.int64))
    pixel_um2 = np.nan if pixel_size_um is None else pixel_size_um**2
    table.insert(2, "area_um2", table["area_px"] * pixel_um2)
    table["solidity"] = _solidity(geometries)
    table["touches_edge"] = polygons["touches_edge"].to_numpy()
    table["score"] = polygons["score"].to_numpy()
    columns = wanted.columns()
    found = intensities.found.reshape(len(cell_ids), len(columns))
    return table.assign(**dict(zip(columns, found.T, strict=True)))


def channel_names(channels: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the name of each channel for its columns: safe to write in a formula, and no two alike."""
    safe = [re.sub(r"\W+", "_", name).strip("_") or str(channel) for channel, name in zip(channels, names, strict=True)]
    uses = Counter(name.casefold() for name in safe)
    taken: set[str] = set()
    columns = []
    for channel, name in zip(channels, safe, strict=True):
        unique = f"{name}_{channel}" if uses[name.casefold()] > 1 else name
        while unique.casefold() in taken:
            unique = f"{unique}_{channel}"
        taken.add(unique.casefold())
        columns.append(unique)
    return columns


def _labels_with_rim(read_labels: Callable[[Box], Labels], box: Box, shape: tuple[int, int]) -> Labels:
    """Return the labels of a block with one pixel more on each side, 0 beyond the image."""
    rim = box.grown(1, shape)
    labels = np.zeros((box.height + 2, box.width + 2), np.uint32)
    labels[rim.shifted(1 - box.y0, 1 - box.x0).slices] = read_labels(rim)
    return labels


def _last_blocks(geometries: NDArray[np.object_], shape: tuple[int, int], block_px: int) -> NDArray[np.int64]:
    """Return the number, in raster order, of the last block that each polygon's bounds meet; 0 for an empty one."""
    _, _, x1, y1 = shapely.bounds(geometries).T
    last = [
        np.clip(np.ceil(np.nan_to_num(end)) - 1, 0, side - 1) // block_px
        for end, side in zip((y1, x1), shape, strict=True)
    ]
    return np.asarray(last[0] * -(-shape[1] // block_px) + last[1], np.int64)


def _anchors(geometries: NDArray[np.object_]) -> NDArray[np.int64]:
    """Return the (y, x) pixel in the middle of each polygon's bounds, (0, 0) for an empty one."""
    x0, y0, x1, y1 = shapely.bounds(geometries).T
    return np.asarray(np.nan_to_num(np.stack([y0 + y1, x0 + x1], axis=1) // 2), np.int64)


def _solidity(geometries: NDArray[np.object_]) -> NDArray[np.float64]:
    hull = shapely.area(shapely.convex_hull(geometries))
    solidity: NDArray[np.float64] = shapely.area(geometries) / np.where(hull == 0, np.nan, hull)
    return solidity


def _checked(polygons: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the polygons sorted by cell_id, after checking that they can be measured."""
    missing = [column for column in _NEEDED if column not in polygons.columns]
    if missing:
        raise TableError(
            f"the polygons have no column {', '.join(missing)}",
            f"expected {', '.join(_NEEDED)}; found {', '.join(map(str, polygons.columns))}",
            "Segment the sample again.",
        )
    cell_ids = polygons["cell_id"]
    if not (cell_ids.is_unique and cell_ids.between(1, np.iinfo(np.uint32).max).all()):
        raise TableError(
            "the cell_id are not a numbering",
            "expected whole numbers from 1 to 4294967295, as labels hold them, each once",
            "Segment the sample again.",
        )
    return polygons.sort_values("cell_id")
