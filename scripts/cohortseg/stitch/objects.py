"""Tables of the 3D objects that links between planes make."""

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.errors import StackError
from cohortseg.stitch.link import count_planes


def object_polygons(polygons: gpd.GeoDataFrame, links: pd.DataFrame) -> gpd.GeoDataFrame:
    """Give one plane's polygons their ids across planes.

    Parameters
    ----------
    polygons
        `cell_id` (within the plane) and `geometry`, in any order.
    links
        The rows of `link_stack` of this plane, all of them.

    Returns
    -------
    GeoDataFrame
        `geometry`, `z_index`, `cell_id` (of the object), `plane_cell_id`, `iou`, in the order of `links`.

    Raises
    ------
    StackError
        The polygons and the links are not of the same cells.
    """
    wanted = links["plane_cell_id"].to_numpy()
    cell_ids = polygons["cell_id"].to_numpy()
    order = np.argsort(cell_ids, kind="stable")
    if not np.array_equal(np.sort(wanted), cell_ids[order]):
        raise StackError(
            f"a plane has {len(polygons)} polygons and {len(links)} linked cells, which are not the same cells",
            "each polygon is linked once",
            "Stitch the stack again.",
        )
    rows = order[np.searchsorted(cell_ids[order], wanted)]
    table = links[["z_index", "cell_id", "plane_cell_id", "iou"]].reset_index(drop=True)
    table.insert(0, "geometry", np.asarray(polygons["geometry"])[rows])
    return gpd.GeoDataFrame(table, geometry="geometry")


def summarise_objects(
    cells: pd.DataFrame, z_indices: Sequence[int], *, pixel_size_um: float | None, z_step_um: float | None
) -> pd.DataFrame:
    """Describe each 3D object of a stack.

    Parameters
    ----------
    cells
        The rows of `link_stack` in their order, objects numbered without gaps, and of each cell `area_px`,
        `centroid_x` and `centroid_y`.
    z_indices
        Of all planes of the stack, also of those without cells.
    pixel_size_um, z_step_um
        Side of a pixel and distance of planes whose z_index differ by one; None where not known.

    Returns
    -------
    DataFrame
        One row an object, sorted by `cell_id`: `n_planes` in which it has cells, `n_cells` (more than planes where
        splits were joined), `z_min`, `z_max` (z_index of its first and last plane), `n_gaps` (planes of the stack
        between them in which it has no cell), `volume_px` (sum of its areas, int64), `volume_um3` (each plane counted
        one z step thick, nothing added for gaps; NaN where a size is not known), `centroid_x`, `centroid_y` (px) and
        `centroid_z` (z_index), all three weighted by area, `mean_iou` of its links (NaN where it has none),
        `n_splits` and `n_merges` (int32; see `link_stack`).
    """
    ids, z_index = cells["cell_id"].to_numpy() - 1, cells["z_index"].to_numpy()
    n_planes = count_planes(ids + 1, z_index)
    n_objects = n_planes.size

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(ids, values, n_objects).astype(float, copy=False)

    # Rows are in z order, and of several values for one place the last one stays.
    z_min, z_max = np.zeros(n_objects, np.int64), np.zeros(n_objects, np.int64)
    z_max[ids], z_min[ids[::-1]] = z_index, z_index[::-1]
    ordered = np.sort(np.asarray(z_indices, np.int64))
    spanned = np.searchsorted(ordered, z_max) - np.searchsorted(ordered, z_min) + 1
    area, iou = cells["area_px"].to_numpy(), cells["iou"].to_numpy()
    volume = total(area)
    voxel_um3 = np.nan if pixel_size_um is None or z_step_um is None else pixel_size_um**2 * z_step_um
    places = {"centroid_x": "centroid_x", "centroid_y": "centroid_y", "centroid_z": "z_index"}
    linked = ~np.isnan(iou)
    n_links = total(linked)
    return pd.DataFrame(
        {
            "cell_id": np.arange(1, n_objects + 1),
            "n_planes": n_planes,
            "n_cells": np.bincount(ids, minlength=n_objects).astype(np.int32),
            "z_min": z_min,
            "z_max": z_max,
            "n_gaps": (spanned - n_planes).astype(np.int32),
            "volume_px": volume.astype(np.int64),
            "volume_um3": volume * voxel_um3,
            **{axis: total(cells[place].to_numpy() * area) / volume for axis, place in places.items()},
            "mean_iou": total(np.where(linked, iou, 0)) / np.where(n_links > 0, n_links, np.nan),
            "n_splits": total(cells["n_splits"].to_numpy()).astype(np.int32),
            "n_merges": total(cells["n_merges"].to_numpy()).astype(np.int32),
        },
        copy=False,
    )
