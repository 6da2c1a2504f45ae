"""Planes given as polygons in memory."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from cohortseg.errors import StackError, TableError
from cohortseg.kernels.sweep import sweep_band
from cohortseg.kernels.wkb import Runs, wkb_runs
from cohortseg.settings import StitchSettings, load_block
from cohortseg.stitch.link import PlaneCells, drop_short, link_stack, pairs_of
from cohortseg.stitch.objects import object_polygons

_LARGEST_ID = 2**32 - 1


@dataclass(frozen=True)
class _Plane:
    """The cells of a plane by `cell_id`: its table for the links, and the runs of pixels of their polygons."""

    cells: PlaneCells
    runs: Runs


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
    stack = [_plane(z_index, polygons, shape) for z_index, polygons in enumerate(planes)]
    overlaps = {
        (lower, upper): _overlaps(stack[lower], stack[upper])
        for lower, upper in pairs_of(range(len(planes)), settings.max_gap, settings.max_step())
    }
    links, _ = drop_short(link_stack([plane.cells for plane in stack], overlaps, settings), settings.min_planes)
    parts = []
    for z_index, of_plane in _by_plane(links, len(planes)):
        kept = planes[z_index][planes[z_index]["cell_id"].isin(of_plane["plane_cell_id"])]
        parts.append(object_polygons(kept, of_plane))
    return gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), geometry="geometry")


def _plane(z_index: int, polygons: gpd.GeoDataFrame, shape: tuple[int, int]) -> _Plane:
    """Return polygons in memory as one plane of a stack; where polygons overlap, the larger `cell_id` has the pixels.

    Areas are those of the pixels, so that the IoU is exact whatever the polygons are.
    """
    cell_ids = _checked_ids(z_index, polygons)
    order = np.argsort(cell_ids)
    stored = [wkb or b"" for wkb in shapely.to_wkb(np.asarray(polygons["geometry"])[order])]
    offsets = np.cumsum([0, *map(len, stored)])
    try:
        runs, areas = wkb_runs(np.frombuffer(b"".join(stored), np.uint8), offsets, 0, shape)
    except TableError as error:
        found = f"the polygons of plane {z_index}, by cell_id: {error.found}"
        raise TableError(found, error.expected, error.remedy) from None
    taken = sweep_band([runs], [], 0, shape[0])[2]
    np.subtract.at(areas, taken.cells, taken.pixels)
    return _Plane(PlaneCells(z_index, shape, cell_ids[order], areas), runs)


def _overlaps(below: _Plane, above: _Plane) -> pd.DataFrame:
    """Return the table of overlaps that `link_stack` takes."""
    pairs, pixels, *_ = sweep_band([below.runs], [above.runs], 0, below.cells.shape[0])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    (lower, upper), pixels = pairs[order].T, pixels[order]
    iou = pixels / (below.cells.areas[lower] + above.cells.areas[upper] - pixels)
    ids = {"lower_id": below.cells.cell_ids[lower], "upper_id": above.cells.cell_ids[upper]}
    return pd.DataFrame({**ids, "overlap_px": pixels, "iou": iou})


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
