"""One-to-one pairs of the largest total weight, against scipy's dense assignment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from cohortseg.errors import TableError
from cohortseg.kernels.match import match_pairs

WEIGHTS = hnp.arrays(
    float,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.one_of(st.just(0.0), st.sampled_from([0.2, 0.4, 0.6, 1.0]), st.floats(0.01, 1.0)),
)


@given(WEIGHTS, st.integers(0, 1000))
def test_the_total_is_that_of_scipy_and_pairs_are_one_to_one(weights: np.ndarray, shift: int) -> None:
    lower, upper = np.nonzero(weights)
    chosen = match_pairs(lower + shift, upper + 2 * shift, weights[lower, upper])
    assert (np.diff(chosen) > 0).all()
    assert len(set(lower[chosen])) == len(set(upper[chosen])) == len(chosen)
    rows, columns = linear_sum_assignment(weights, maximize=True)
    assert weights[lower, upper][chosen].sum() == pytest.approx(weights[rows, columns].sum())


def test_a_long_chain_of_pairs_is_solved_as_a_whole() -> None:
    n = 2001
    lower = np.repeat(np.arange(n), 2)
    upper = lower + np.tile([0, 1], n)
    weights = np.tile([0.5, 0.6], n)
    weights[-1] = 0.01  # the last one has but its first choice left, which shifts all before it or none
    chosen = match_pairs(lower, upper, weights)
    assert weights[chosen].sum() == pytest.approx(0.6 * (n - 1) + 0.01)
    assert len(chosen) == n


@pytest.mark.parametrize(
    ("lower", "upper", "weights"),
    [([1, 0], [0, 0], [0.5, 0.5]), ([0], [0], [0.0]), ([0], [0], [np.nan]), ([0, 1], [0], [0.5])],
)
def test_pairs_out_of_order_or_without_weight_are_refused(
    lower: list[int], upper: list[int], weights: list[float]
) -> None:
    with pytest.raises(TableError, match="out of order"):
        match_pairs(np.array(lower), np.array(upper), np.array(weights))
