"""Adding a tile with its weights."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.kernels.blend import add_weighted


@given(st.tuples(st.integers(1, 3), st.integers(0, 9), st.integers(0, 9)), st.integers(0, 2**32 - 1))
def test_it_is_the_sum_and_the_product_of_numpy(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, values = rng.normal(size=(2, *shape)).astype(np.float32)
    weights_y, weights_x = rng.random(shape[1], np.float32), rng.random(shape[2], np.float32)
    expected = target + values * np.outer(weights_y, weights_x)
    add_weighted(target, values, weights_y, weights_x)
    np.testing.assert_array_equal(target, expected)


def test_it_takes_views() -> None:
    target, values = np.zeros((2, 6, 8), np.float32), np.ones((2, 9, 9), np.float32)
    add_weighted(target[:, 1:4, 2:5], values[:, :3, ::4], np.ones(3, np.float32), np.full(3, 0.5, np.float32))
    assert (target[:, 1:4, 2:5] == np.float32(0.5)).all()
    assert target.sum() == np.float32(9)
