import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.kernels.structure import LAGS, REACH_PX, add_signal, add_structure


def products(plane: NDArray[np.float32], lag: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the products and the squares of changes at each pixel by numpy; NaN within reach of the border."""
    wide = plane.astype(np.float64)

    def moved(dy: int, dx: int) -> NDArray[np.float64]:
        return np.roll(wide, (-dy, -dx), (0, 1))

    along_x, along_y = moved(0, lag) - moved(0, -lag), moved(lag, 0) - moved(-lag, 0)
    below, beside = moved(1, lag) - moved(1, -lag), moved(lag, 1) - moved(-lag, 1)
    known = np.full(plane.shape, np.nan)
    inner = (slice(REACH_PX, -REACH_PX),) * 2
    known[inner] = 0
    return along_x * below + along_y * beside + known, along_x**2 + along_y**2 + known


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 40))
def test_sums_are_those_of_numpy_whatever_the_blocks(seed: int, height: int, width: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, 1000, (height, width)).astype(np.float32)
    inside = rng.random(plane.shape) < 0.5
    sums, signal = np.zeros((len(LAGS), 3)), np.zeros((2, 2))
    tile_of = np.arange(height) * 2 // height, np.arange(width) * 2 // width
    for y in range(0, height, side):
        for x in range(0, width, side):
            box = Box(y, x, min(y + side, height), min(x + side, width))
            held = box.grown(REACH_PX, plane.shape)
            here = box.shifted(-held.y0, -held.x0)
            part = np.ascontiguousarray(plane[held.slices])
            add_structure(part, inside[held.slices], here, sums)
            tiles = tile_of[0][held.slices[0]], tile_of[1][held.slices[1]]
            add_signal(part, here, most=1e5, tile_of=tiles, sums=signal)
    if min(height, width) <= 2 * REACH_PX:
        assert not sums.any()
        return
    for lag, found in zip(LAGS, sums, strict=True):
        product, square = products(plane, lag)
        wanted = inside & ~np.isnan(product)
        np.testing.assert_allclose(found, [product[wanted].sum(), square[wanted].sum(), wanted.sum()], rtol=1e-6)
    clipped = np.nan_to_num(np.clip(products(plane, LAGS[-1])[0], -1e5, 1e5))
    expected = np.zeros((2, 2))
    np.add.at(expected, np.ix_(*tile_of), clipped)
    np.testing.assert_allclose(signal, expected, rtol=1e-6)


def test_noise_adds_nothing_to_the_products_and_all_to_the_squares() -> None:
    plane = np.random.default_rng(0).normal(0, 10, (800, 800)).astype(np.float32)
    sums = np.zeros((len(LAGS), 3))
    add_structure(plane, np.ones(plane.shape, np.bool_), Box(0, 0, 800, 800), sums)
    for product, square, number in sums:
        assert square / number == pytest.approx(400, rel=0.01)
        assert abs(product / number) < 2


def test_what_is_not_finite_is_left_out() -> None:
    plane = np.random.default_rng(0).normal(0, 10, (40, 40)).astype(np.float32)
    plane[20, 20] = np.nan
    plane[5, 30] = np.inf
    sums = np.zeros((len(LAGS), 3))
    add_structure(plane, np.ones(plane.shape, np.bool_), Box(0, 0, 40, 40), sums)
    assert np.isfinite(sums).all()
    assert 0 < sums[0, 2] < 30 * 30
