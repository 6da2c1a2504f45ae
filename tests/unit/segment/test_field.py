"""The band of the network's output that is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.arrays import Box
from cohortseg.segment.field import RollingField
from cohortseg.tiling import TileGrid, plan_tiles


def blended(grid: TileGrid, values: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    """Return the whole canvas, blended in one array."""
    canvas = np.zeros((3, *grid.shape), np.float32)
    for (row, column), tile in values.items():
        canvas[:, *grid.used(row, column).slices] += tile * np.outer(grid.y.weights(row), grid.x.weights(column))
    return canvas


@given(
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
    st.integers(0, 8),
    st.tuples(st.integers(0, 100), st.integers(1, 60)),
    st.integers(0, 20),
)
def test_a_rolling_band_equals_the_whole_canvas(
    shape: tuple[int, int], margin_px: int, columns: tuple[int, int], step_px: int
) -> None:
    grid = plan_tiles(shape, tile_px=32, margin_px=margin_px, border_px=6, stride_px=4)
    rng = np.random.default_rng(0)
    indices = [(row, column) for row in range(len(grid.y.starts)) for column in range(len(grid.x.starts))]
    values = {at: rng.normal(size=(3, *grid.used(*at).shape)).astype(np.float32) for at in indices}
    whole = blended(grid, values)
    x0 = min(columns[0], grid.shape[1] - 1)
    x1 = min(x0 + columns[1], grid.shape[1])
    band, taken = RollingField(Box(0, x0, shape[0], x1)), 0
    for row in range(len(grid.y.starts)):
        for column in grid.x.reaching(x0, x1):
            band.add(grid.used(row, column), values[row, column], grid.y.weights(row), grid.x.weights(column))
        last = row == len(grid.y.starts) - 1
        final = grid.shape[0] if last else grid.y.used(row + 1)[0]
        np.testing.assert_array_equal(band.take(Box(taken, x0, final, x1)), whole[:, taken:final, x0:x1])
        taken = max(taken, final - step_px)
        band.drop_above(taken)


def test_what_is_taken_is_a_copy() -> None:
    band = RollingField(Box(0, 0, 2, 2))
    band.add(Box(0, 0, 2, 2), np.ones((3, 2, 2), np.float32), np.ones(2, np.float32), np.ones(2, np.float32))
    band.take(Box(0, 0, 2, 2))[:] = 7
    assert band.take(Box(0, 0, 2, 2)).max() == pytest.approx(1)
