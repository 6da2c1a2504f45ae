"""Planes given as polygons in memory."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.errors import StackError, TableError
from cohortseg.kernels.overlap import count_overlaps
from cohortseg.settings import StitchSettings, load_block
from cohortseg.shapes import rasterise_into
from cohortseg.stitch.link import PlaneCells, drop_short, link_stack, pairs_of
from cohortseg.stitch.objects import object_polygons
from cohortseg.stitch.overlap import BLOCK_PX, Plane, plane_overlaps
from cohortseg.tiling.blocks import blocks

_LARGEST_ID = 2**32 - 1


def stitch_planes(
    planes: Sequence[gpd.GeoDataFrame], iou_threshold: float | None = None, settings: StitchSettings | None = None
) -> gpd.GeoDataFrame:
    """Link the polygons of a stack's planes into 3D cells.

    Parameters
    ----------
    planes
        In the order of the stack, which gives them the z_index 0, 1, ...: `cell_id` and `geometry` each, as
        `polygons.parquet` has them. Planes without rows are allowed.
    iou_threshold
        Smallest intersection over union, in pixels, that links two cells; above 0, at most 1. Where given, it replaces
        that of `settings`.
    settings
        Everything else, such as `StitchSettings(rule="optimal", max_gap=1)`; None for the defaults.

    Returns
    -------
    GeoDataFrame
        One row a cell and plane: `geometry`, `z_index`, `cell_id` (one id across planes, from 1),
        `plane_cell_id`, `iou` to the plane before; see `link_stack` for the rule.

    Raises
    ------
    StackError
        There are no planes, or coordinates are not finite.
    TableError
        A plane lacks a column, or repeats a `cell_id`.
    SettingsError
        `iou_threshold` is out of range.
    """
    if not planes:
        raise StackError("the stack has no planes", "a stack has one plane at least", "Give its planes' polygons.")
    given = {} if iou_threshold is None else {"iou_threshold": iou_threshold}
    settings = load_block(StitchSettings, (settings or StitchSettings()).model_dump() | given)
    shape = _common_shape(planes)
    stack = [plane_from_polygons(z_index, polygons, shape) for z_index, polygons in enumerate(planes)]
    overlaps = {
        (lower, upper): plane_overlaps(stack[lower], stack[upper], block_px=BLOCK_PX)
        for lower, upper in pairs_of(range(len(planes)), settings.max_gap, settings.max_step())
    }
    links, _ = drop_short(link_stack([_cells(plane) for plane in stack], overlaps, settings), settings.min_planes)
    parts = []
    for z_index, of_plane in _by_plane(links, len(planes)):
        kept = planes[z_index][planes[z_index]["cell_id"].isin(of_plane["plane_cell_id"])]
        parts.append(object_polygons(kept, of_plane))
    return gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), geometry="geometry")


def _cells(plane: Plane) -> PlaneCells:
    return PlaneCells(plane.z_index, plane.shape, plane.cell_ids, plane.areas)


def plane_from_polygons(z_index: int, polygons: gpd.GeoDataFrame, shape: tuple[int, int]) -> Plane:
    """Return polygons in memory as one plane of a stack, read by drawing those that meet a box.

    Parameters
    ----------
    z_index
        Place in the stack's order.
    polygons
        `cell_id` and `geometry`, in any order; polygons beyond `shape` are cut.
    shape
        (y, x) of the plane in pixels.

    Raises
    ------
    TableError
        A column is missing, or the `cell_id` are not whole numbers from 1 to 2³² - 1, each once.
    """
    cell_ids = _checked_ids(z_index, polygons)
    order = np.argsort(cell_ids)
    geometries = np.asarray(polygons["geometry"])[order]
    values = cell_ids[order].astype(np.uint32)
    tree = shapely.STRtree(geometries)

    def read(box: Box) -> Labels:
        # A tree gives its hits in no order, and where polygons overlap the later one wins.
        hits = np.sort(tree.query(shapely.box(box.x0, box.y0, box.x1, box.y1)))
        labels, _ = rasterise_into(geometries[hits], values[hits], box)
        return labels

    return Plane(z_index, shape, cell_ids[order], _areas(read, shape, values), read)


def _areas(read: Callable[[Box], Labels], shape: tuple[int, int], values: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Count each cell's pixels as drawn, so that the IoU is exact whatever the polygons are."""
    areas = np.zeros(values.size, np.int64)
    for box in blocks(shape, BLOCK_PX):
        labels = read(box)
        pairs, counts = count_overlaps(labels, labels)
        areas[np.searchsorted(values, pairs[:, 0])] += counts
    return areas


def _by_plane(links: pd.DataFrame, n_planes: int) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the rows of each plane, which are together and in order; a plane may have none."""
    ends = np.searchsorted(links["z_index"], np.arange(n_planes), side="right")
    for z_index, (start, stop) in enumerate(pairwise([0, *ends])):
        yield z_index, links.iloc[start:stop]


def _check_columns(z_index: int, polygons: gpd.GeoDataFrame) -> None:
    missing = [column for column in ("cell_id", "geometry") if column not in polygons.columns]
    if missing:
        raise TableError(
            f"the polygons of plane {z_index} have no column {' and '.join(missing)}",
            f"expected cell_id and geometry; found {', '.join(map(str, polygons.columns)) or 'none'}",
            "Give polygons as cohortseg.segment_image and polygons.parquet have them.",
        )


def _checked_ids(z_index: int, polygons: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Return the plane's cell_id, after checking that labels can hold them."""
    _check_columns(z_index, polygons)
    cell_ids = polygons["cell_id"].to_numpy()
    whole = np.issubdtype(cell_ids.dtype, np.integer) or not cell_ids.size
    if not whole or (cell_ids < 1).any() or (cell_ids > _LARGEST_ID).any() or np.unique(cell_ids).size < cell_ids.size:
        raise TableError(
            f"the cell_id of plane {z_index} are not a numbering",
            f"expected whole numbers from 1 to {_LARGEST_ID}, each once",
            "Renumber the plane's cells.",
        )
    return np.asarray(cell_ids, np.int64)


def _common_shape(planes: Sequence[gpd.GeoDataFrame]) -> tuple[int, int]:
    """Return the smallest (y, x) that holds the polygons of every plane."""
    for z_index, polygons in enumerate(planes):
        _check_columns(z_index, polygons)
    geometries = np.concatenate([np.asarray(polygons["geometry"]) for polygons in planes])
    if shapely.is_empty(geometries).all():
        return 0, 0
    _, _, width, height = shapely.total_bounds(geometries)
    if not (np.isfinite(width) and np.isfinite(height)):
        raise StackError(
            "the polygons reach to coordinates that are not finite",
            "expected coordinates in pixels",
            "Remove or correct these polygons.",
        )
    return max(math.ceil(height), 0), max(math.ceil(width), 0)
