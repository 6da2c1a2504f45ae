"""Tables of the 3D objects that links between planes make."""

import geopandas as gpd
import numpy as np
import pandas as pd

from cohortseg.errors import StackError


def object_polygons(polygons: gpd.GeoDataFrame, links: pd.DataFrame) -> gpd.GeoDataFrame:
    """Give one plane's polygons their ids across planes.

    Parameters
    ----------
    polygons
        `cell_id` (within the plane) and `geometry`, in any order.
    links
        The rows of `link_planes` of this plane, all of them.

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
    links: pd.DataFrame, cells: pd.DataFrame, *, pixel_size_um: float | None, z_step_um: float | None
) -> pd.DataFrame:
    """Describe each 3D object of a stack.

    Parameters
    ----------
    links
        As `link_planes` gives them.
    cells
        `z_index`, `plane_cell_id`, `area_px`, `centroid_x`, `centroid_y` of every cell that is linked.
    pixel_size_um, z_step_um
        Side of a pixel and distance between neighbouring planes; None where not known.

    Returns
    -------
    DataFrame
        One row an object, sorted by `cell_id`: `n_planes`, `z_min`, `z_max` (z_index of its first and last
        plane), `volume_px` (sum of its areas, int64), `volume_um3` (NaN where a size is not known),
        `centroid_x`, `centroid_y` (px) and `centroid_z` (z_index), all three weighted by area, and `mean_iou`
        of its links (NaN where it has none).

    Raises
    ------
    StackError
        A linked cell is not among `cells`.
    """
    keys = ["z_index", "plane_cell_id"]
    joined = links.merge(cells[[*keys, "area_px", "centroid_x", "centroid_y"]], on=keys, how="left", validate="1:1")
    lost = joined["area_px"].isna()
    if lost.any():
        first = joined[lost].iloc[0]
        raise StackError(
            f"cell {first['plane_cell_id']:.0f} of plane {first['z_index']:.0f} is linked but not in the table",
            "links and table come from the same polygons",
            "Stitch the stack again.",
        )
    area = joined["area_px"].astype(np.int64)
    places = {"centroid_x": "centroid_x", "centroid_y": "centroid_y", "centroid_z": "z_index"}
    weighted = {axis: joined[place] * area for axis, place in places.items()}
    grouped = joined.assign(area_px=area, **weighted).groupby("cell_id", sort=True)
    volume = grouped["area_px"].sum()
    voxel_um3 = np.nan if pixel_size_um is None or z_step_um is None else pixel_size_um**2 * z_step_um
    table = pd.DataFrame(
        {
            "n_planes": grouped.size(),
            "z_min": grouped["z_index"].min(),
            "z_max": grouped["z_index"].max(),
            "volume_px": volume,
            "volume_um3": volume * voxel_um3,
            **{axis: grouped[axis].sum() / volume for axis in weighted},
            "mean_iou": grouped["iou"].mean(),
        }
    )
    return table.reset_index()
