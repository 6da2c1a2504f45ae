"""Stitching polygons in memory, up to a real stack."""

from pathlib import Path

import geopandas as gpd
import h5py
import numpy as np
import pytest
import shapely
from cellpose.utils import stitch3D
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Labels
from cohortseg.errors import SettingsError, StackError, TableError
from cohortseg.evaluate import average_precision
from cohortseg.settings import StitchSettings
from cohortseg.shapes import polygonise, rasterise
from cohortseg.stitch import stitch_planes


def cells(*boxes: tuple[float, float, float, float]) -> gpd.GeoDataFrame:
    geometry = [shapely.box(*box) for box in boxes]
    return gpd.GeoDataFrame({"cell_id": np.arange(1, len(boxes) + 1)}, geometry=geometry)


def test_polygons_of_several_planes_get_one_id() -> None:
    planes = [cells((0, 0, 4, 4), (9, 9, 12, 12)), cells((9, 9, 12, 13)), cells(), cells((0, 0, 4, 4))]
    table = stitch_planes(planes, 0.5)
    assert isinstance(table, gpd.GeoDataFrame)
    assert table.columns.tolist() == ["geometry", "z_index", "cell_id", "plane_cell_id", "iou"]
    assert table["z_index"].tolist() == [0, 0, 1, 3]
    assert table["cell_id"].tolist() == [1, 2, 2, 3]
    assert table["plane_cell_id"].tolist() == [1, 2, 1, 1]
    np.testing.assert_allclose(table["iou"], [np.nan, np.nan, 0.75, np.nan])
    assert table.geometry.iloc[2].equals(planes[1].geometry.iloc[0])


def test_settings_choose_rule_gaps_and_the_least_number_of_planes() -> None:
    planes = [cells((0, 0, 4, 4), (9, 9, 12, 12)), cells(), cells((0, 0, 4, 4))]
    table = stitch_planes(planes, settings=StitchSettings(rule="optimal", max_gap=1, min_planes=2))
    assert table[["z_index", "plane_cell_id", "cell_id"]].to_numpy().tolist() == [[0, 1, 1], [2, 1, 1]]
    assert len(stitch_planes(planes, settings=StitchSettings(iou_threshold=0.1))) == 3


def test_planes_without_any_polygon_give_an_empty_table() -> None:
    table = stitch_planes([cells(), cells()])
    assert len(table) == 0
    assert table.columns.tolist() == ["geometry", "z_index", "cell_id", "plane_cell_id", "iou"]


def test_the_same_smooth_polygon_overlaps_itself_wholly() -> None:
    disc = gpd.GeoDataFrame({"cell_id": [3]}, geometry=[shapely.Point(20.3, 17.9).buffer(9.7)])
    assert stitch_planes([disc, disc], 1.0)["iou"].tolist()[1] == 1.0


def test_where_polygons_overlap_the_larger_id_has_the_pixels_whatever_the_order_of_rows() -> None:
    both = cells((0, 0, 6, 6), (3, 3, 9, 9))
    above = cells((3, 3, 9, 9), (0, 0, 3, 9))
    for below in (both, both.iloc[::-1]):
        table = stitch_planes([below, above], 0.3)
        links = table[table["z_index"] == 1].set_index("plane_cell_id")["iou"]
        assert links.to_dict() == {1: 1.0, 2: 18 / (27 + 27 - 18)}


@settings(deadline=None, max_examples=25)
@given(*[hnp.arrays(np.uint32, (9, 11), elements=st.sampled_from([0, 0, 1, 2, 3, 2**32 - 1]))] * 2)
def test_the_iou_of_a_link_is_that_of_the_labels(below: Labels, above: Labels) -> None:
    table = stitch_planes([polygonise(below), polygonise(above)], 0.01)
    for row in table[table["iou"].notna()].itertuples():
        lower = table[(table["cell_id"] == row.cell_id) & (table["z_index"] == 0)]["plane_cell_id"].item()
        a, b = below == lower, above == row.plane_cell_id
        assert row.iou == (a & b).sum() / (a | b).sum()
    assert table["iou"].notna().any() == (((below > 0) & (above > 0)).any())


def test_a_cell_that_crosses_itself_counts_by_its_pixels() -> None:
    bow_tie = gpd.GeoDataFrame({"cell_id": [1]}, geometry=[shapely.Polygon([(0, 0), (8, 8), (8, 0), (0, 8)])])
    assert not bow_tie.geometry.is_valid.any()
    assert stitch_planes([bow_tie, bow_tie])["iou"].tolist()[1] == 1.0


def test_what_is_no_polygon_is_refused() -> None:
    line = gpd.GeoDataFrame({"cell_id": [1]}, geometry=[shapely.LineString([(0, 0), (4, 4)])])
    with pytest.raises(TableError, match=r"plane 1, by cell_id: row 0 holds another kind"):
        stitch_planes([cells((0, 0, 4, 4)), line])


@pytest.mark.parametrize("threshold", [0, -0.5, 1.5])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(SettingsError, match="iou_threshold"):
        stitch_planes([cells((0, 0, 1, 1))], threshold)


def test_no_planes_are_no_stack() -> None:
    with pytest.raises(StackError, match="no planes"):
        stitch_planes([])


@pytest.mark.parametrize("ids", [[1, 1], [0, 1], [1, 2**32], [1.0, 2.0], ["a", "b"]])
def test_ids_that_labels_cannot_hold_are_refused(ids: list[object]) -> None:
    polygons = cells((0, 0, 1, 1), (2, 2, 3, 3)).assign(cell_id=ids)
    with pytest.raises(TableError, match="cell_id of plane 1 are not a numbering"):
        stitch_planes([cells(), polygons])


def test_a_table_without_ids_is_refused() -> None:
    with pytest.raises(TableError, match="plane 0 have no column cell_id"):
        stitch_planes([cells((0, 0, 1, 1)).drop(columns="cell_id")])


def test_coordinates_without_end_are_refused() -> None:
    endless = shapely.Polygon([(0, 0), (np.inf, 0), (1, 1)])
    with pytest.raises(StackError, match="not finite"):
        stitch_planes([gpd.GeoDataFrame({"cell_id": [1]}, geometry=[endless])])


def relabelled(plane: Labels, seed: int) -> Labels:
    """Return the plane with its labels renumbered 1 to n in another order: nothing tells which cell is which."""
    values, dense = np.unique(plane, return_inverse=True)
    n_cells = np.count_nonzero(values)
    new = np.random.default_rng(seed).permutation(n_cells) + 1
    return np.concatenate([np.zeros(len(values) - n_cells, int), new])[dense].reshape(plane.shape).astype(np.uint32)


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> Labels:
    with h5py.File(shared_data / "ovule" / "sample_ovule.h5") as file:
        labels: Labels = file["label"][:].astype(np.uint32)
    return labels


def stitched_both_ways(truth: Labels, settings: StitchSettings) -> tuple[Labels, Labels]:
    """Return the objects that we and cellpose make of the planes of the truth, renumbered in each."""
    planes = np.stack([relabelled(plane, z) for z, plane in enumerate(truth)])
    table = stitch_planes([polygonise(plane) for plane in planes], settings=settings)
    assert not table.duplicated(["cell_id", "z_index"]).any()
    ours = np.stack([rasterise(table[table["z_index"] == z], truth.shape[1:]) for z in range(len(truth))])
    with np.errstate(invalid="ignore"):  # cellpose divides 0 by 0 for values that a plane does not have
        return ours, stitch3D(planes.copy(), stitch_threshold=settings.iou_threshold)


@pytest.mark.parametrize("threshold", [0.25, 0.5])
def test_a_real_stack_is_stitched_as_by_cellpose_by_default(truth: Labels, threshold: float) -> None:
    ours, theirs = stitched_both_ways(truth, StitchSettings(iou_threshold=threshold))
    our_score, their_score = average_precision(truth, ours, [0.5]), average_precision(truth, theirs, [0.5])
    assert our_score.ap[0] == their_score.ap[0]
    assert our_score.tp[0] >= 47


def test_a_real_stack_is_stitched_better_than_by_cellpose_by_optimal_links(truth: Labels) -> None:
    ours, theirs = stitched_both_ways(truth, StitchSettings(rule="optimal", iou_threshold=0.05))
    our_score, their_score = average_precision(truth, ours, [0.5, 0.75]), average_precision(truth, theirs, [0.5, 0.75])
    assert (our_score.ap > their_score.ap + 0.08).all()
    assert our_score.tp[0] > their_score.tp[0]
    assert our_score.fp[0] < their_score.fp[0]
