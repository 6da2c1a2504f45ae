"""Which columns of a table of cells are intensities, told by their names."""

import numpy as np
import pandas as pd
import pytest

from cohortseg.exports.intensities import Layout, joined, layout_of

NUMBER, TEXT, WHOLE = np.dtype(float), np.dtype(object), np.dtype(np.int64)


def layout(*names: str) -> Layout:
    return layout_of(dict.fromkeys(names, NUMBER))


def test_statistics_are_layers_and_channels_are_columns() -> None:
    found = layout("area_px", "std_DAPI", "mean_DAPI", "p2_5_DAPI", "mean_CD45_RA", "p5_CD45_RA", "score")
    assert found.channels == ("DAPI", "CD45_RA")
    assert found.layers == ("mean", "std", "p2_5", "p5")
    assert list(found.others) == ["area_px", "score"]
    table = pd.DataFrame({"mean_DAPI": [1.0, 2.0], "mean_CD45_RA": [3.0, 4.0], "std_DAPI": [5.0, 6.0]})
    assert found.matrix("mean", table, found.channels).tolist() == [[1, 3], [2, 4]]
    np.testing.assert_array_equal(found.matrix("std", table, found.channels), [[5, np.nan], [6, np.nan]])
    assert found.matrix("mean", table, found.channels).dtype == np.float32


def test_compartments_are_layers_of_their_channel() -> None:
    found = layout("mean_DAPI", "mean_nucleus_DAPI", "mean_ring_DAPI", "p5_DAPI", "p5_cytoplasm_DAPI")
    assert found.channels == ("DAPI",)
    assert found.layers == ("mean", "mean_nucleus", "mean_ring", "p5", "p5_cytoplasm")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mean_nucleus_marker"], {("mean", "nucleus_marker")}),
        (["mean_nucleus", "mean_nucleus_nucleus"], {("mean", "nucleus"), ("mean_nucleus", "nucleus")}),
        (["mean_5_A", "p2_5_A"], {("mean", "5_A"), ("p2", "5_A")}),
        (["mean_5_A", "mean_A", "p2_5_A"], {("mean", "5_A"), ("mean", "A"), ("p2_5", "A")}),
        (["p2_5_A"], {("p2_5", "A")}),
        (["p97_5"], {("p97", "5")}),
        (["mean_A", "p2_5_nucleus_A"], {("mean", "A"), ("p2_5_nucleus", "A")}),
        (["max_feret_px", "mean_distance_um", "minor_axis_px", "sum_orientation_rad"], set()),
        (["meanness", "pH", "p_value", "mean_", "background_A"], set()),
        (["mean_um", "mean_rad51", "max_px"], {("mean", "um"), ("mean", "rad51"), ("max", "px")}),
        (["mean_A", "background_A", "background_B"], {("mean", "A"), ("background", "A")}),
        (["p5_A", "p5_nucleus_A", "background_A"], {("p5", "A"), ("p5_nucleus", "A"), ("background", "A")}),
        (["p2_5_A", "p2_5_nucleus_A"], {("p2_5", "A"), ("p2_5_nucleus", "A")}),
    ],
)
def test_names_that_could_be_read_in_two_ways(names: list[str], expected: set[tuple[str, str]]) -> None:
    assert set(layout(*names).places) == expected


def test_text_is_no_intensity() -> None:
    assert layout_of({"mean_A": TEXT}).channels == ()


def test_several_tables_have_the_channels_of_any() -> None:
    one = layout_of({"mean_A": NUMBER, "n": WHOLE, "m": WHOLE, "kind": TEXT})
    other = layout_of({"median_B": NUMBER, "mean_B": NUMBER, "n": WHOLE, "m": NUMBER, "only": WHOLE})
    both = joined([one, other])
    assert both.channels == ("A", "B")
    assert both.layers == ("mean", "median")
    assert both.others == {"n": WHOLE, "m": NUMBER, "kind": TEXT, "only": pd.Int64Dtype()}
