"""Tables of 3D objects."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from cohortseg.errors import StackError
from cohortseg.stitch import object_polygons, summarise_objects

LINKS = pd.DataFrame(
    {
        "z_index": [3, 3, 4, 6],
        "plane_cell_id": [2, 9, 1, 4],
        "cell_id": [1, 2, 1, 1],
        "iou": [np.nan, np.nan, 0.75, 0.5],
    }
)
CELLS = LINKS.assign(
    n_splits=[2, 0, 1, 0],
    n_merges=[0, 0, 0, 1],
    area_px=[30, 7, 20, 10],
    centroid_x=[3.0, 8.0, 2.0, 1.0],
    centroid_y=[4.0, 9.0, 5.0, 6.0],
)
PLANES = [3, 4, 5, 6, 9]


def test_an_object_sums_its_planes_and_weighs_its_centre_by_area() -> None:
    objects = summarise_objects(CELLS, PLANES, pixel_size_um=0.5, z_step_um=2.0)
    assert objects["cell_id"].tolist() == [1, 2]
    assert objects["n_planes"].tolist() == [3, 1]
    assert objects["n_cells"].tolist() == [3, 1]
    assert objects["n_gaps"].tolist() == [1, 0]
    assert objects["n_splits"].tolist() == [3, 0]
    assert objects["n_merges"].tolist() == [1, 0]
    assert objects["z_min"].tolist() == [3, 3]
    assert objects["z_max"].tolist() == [6, 3]
    assert objects["volume_px"].tolist() == [60, 7]
    assert objects["volume_px"].dtype == np.int64
    assert objects["volume_um3"].tolist() == [30, 3.5]
    np.testing.assert_allclose(objects["centroid_x"], [(90 + 40 + 10) / 60, 8])
    np.testing.assert_allclose(objects["centroid_y"], [(120 + 100 + 60) / 60, 9])
    np.testing.assert_allclose(objects["centroid_z"], [(90 + 80 + 60) / 60, 3])
    np.testing.assert_allclose(objects["mean_iou"], [0.625, np.nan])


@pytest.mark.parametrize(("pixel_size_um", "z_step_um"), [(None, 1.0), (1.0, None), (None, None)])
def test_a_volume_without_sizes_is_missing(pixel_size_um: float | None, z_step_um: float | None) -> None:
    objects = summarise_objects(CELLS, PLANES, pixel_size_um=pixel_size_um, z_step_um=z_step_um)
    assert objects["volume_um3"].isna().all()


def test_no_links_give_no_objects_with_all_columns() -> None:
    full = summarise_objects(CELLS, PLANES, pixel_size_um=1.0, z_step_um=1.0)
    empty = summarise_objects(CELLS[:0], PLANES, pixel_size_um=1.0, z_step_um=1.0)
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_two_cells_of_an_object_in_one_plane_count_as_one_plane() -> None:
    joined = summarise_objects(CELLS.assign(cell_id=1), PLANES, pixel_size_um=1.0, z_step_um=1.0)
    assert joined[["n_planes", "n_cells", "volume_px"]].to_numpy().tolist() == [[3, 4, 67]]


def squares(*cell_ids: int) -> gpd.GeoDataFrame:
    geometry = [shapely.box(cell_id, 0, cell_id + 1, 1) for cell_id in cell_ids]
    return gpd.GeoDataFrame({"cell_id": cell_ids}, geometry=geometry)


def test_polygons_take_the_ids_of_their_objects_whatever_their_order() -> None:
    table = object_polygons(squares(9, 2), LINKS[LINKS["z_index"] == 3])
    assert table.columns.tolist() == ["geometry", "z_index", "cell_id", "plane_cell_id", "iou"]
    assert table["plane_cell_id"].tolist() == [2, 9]
    assert table["cell_id"].tolist() == [1, 2]
    assert table.geometry.bounds["minx"].tolist() == [2, 9]


@pytest.mark.parametrize("cell_ids", [(2,), (2, 8), (2, 9, 10), (2, 2)])
def test_polygons_of_other_cells_than_the_links_are_refused(cell_ids: tuple[int, ...]) -> None:
    with pytest.raises(StackError, match="not the same cells"):
        object_polygons(squares(*cell_ids), LINKS[LINKS["z_index"] == 3])
