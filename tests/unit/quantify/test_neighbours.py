"""Neighbours of cells, against all distances at once."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.quantify import PAIRS, add_neighbours, neighbours


def found(points: np.ndarray, distance_px: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of cells at these (x, y), with ids 10, 20, 30, ..., and that of the pairs."""
    ids = 10 * np.arange(1, len(points) + 1)
    cells = pd.DataFrame({"cell_id": ids, "centroid_x": points[:, 0], "centroid_y": points[:, 1]})
    pairs = [pd.DataFrame({name: [] for name in PAIRS.names})]
    return add_neighbours(cells, distance_px, pairs.append), pd.concat(pairs, ignore_index=True)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 30), st.just(2)), elements=st.integers(0, 12)),
    st.sampled_from([1.0, 2.0, 5.0, 6.5, 100.0]),
    st.sampled_from([1, 7, 1 << 21]),
)
def test_neighbours_are_those_of_all_distances(points: np.ndarray, distance_px: float, most_pairs: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_MOST_PAIRS", most_pairs)
        patch.setattr(neighbours, "_MOST_CELLS", 11)
        cells, pairs = found(points, distance_px)
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    near = np.argwhere(np.triu(apart <= distance_px, k=1))
    assert pairs[["cell_id", "neighbour_id"]].to_numpy().tolist() == (10 * (near + 1)).tolist()
    np.testing.assert_allclose(pairs["distance_px"].astype(float), apart[tuple(near.T)])
    assert cells["n_neighbours"].tolist() == ((apart <= distance_px).sum(axis=1) - 1).tolist()
    np.fill_diagonal(apart, np.inf)
    if len(points) > 1:
        assert cells["nearest_id"].tolist() == (10 * (apart.argmin(axis=1) + 1)).tolist()
        np.testing.assert_allclose(cells["nearest_px"], apart.min(axis=1))
    else:
        assert cells["nearest_id"].isna().all()
        assert cells["nearest_px"].isna().all()
    assert [str(cells[name].dtype) for name in ("n_neighbours", "nearest_id", "nearest_px")] == [
        "int64", "Int64", "float64"
    ]  # fmt: skip


def test_a_cell_without_a_place_is_nobody_s_neighbour() -> None:
    cells, pairs = found(np.array([[1, 1], [np.nan, np.nan], [1, 4]]), 3)
    assert cells["n_neighbours"].tolist() == [1, 0, 1]
    assert cells["nearest_id"].tolist() == [30, pd.NA, 10]
    assert pairs.to_numpy().tolist() == [[10, 30, 3]]
