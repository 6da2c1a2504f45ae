"""Tiles for the network."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.tiling.tiles import AxisTiles, TileGrid, plan_tiles

STRIDES = st.sampled_from([1, 2, 8, 16])


@st.composite
def axes(draw: st.DrawFn) -> tuple[AxisTiles, int, int, int]:
    """Return the tiles along an axis, with the image's length, the stride and the margin."""
    stride_px = draw(STRIDES)
    tile_px = stride_px * draw(st.integers(4, 40))
    margin_px = draw(st.integers(0, tile_px // 4))
    length_px = draw(st.integers(1, 12 * tile_px))
    grid = plan_tiles((length_px, 1), tile_px=tile_px, margin_px=margin_px, stride_px=stride_px)
    return grid.y, length_px, stride_px, margin_px


@given(axes())
def test_the_weights_of_all_tiles_sum_to_one_at_every_pixel(made: tuple[AxisTiles, int, int, int]) -> None:
    axis = made[0]
    total = np.zeros(axis.length_px)
    for i in range(len(axis.starts)):
        start, stop = axis.used(i)
        assert axis.weights(i).shape == (stop - start,)
        assert (axis.weights(i) >= 0).all()
        total[start:stop] += axis.weights(i)
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-6)


@given(axes())
def test_tiles_start_on_the_networks_own_grid_and_cover_the_canvas(made: tuple[AxisTiles, int, int, int]) -> None:
    axis, length_px, stride_px, margin_px = made
    assert length_px <= axis.length_px < length_px + stride_px
    assert axis.length_px % stride_px == axis.tile_px % stride_px == 0
    assert all(start % stride_px == 0 for start in axis.starts)
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.tile_px == axis.length_px
    for before, after in pairwise(axis.starts):
        assert before < after
        if axis.tile_px >= 2 * margin_px + 2 * stride_px:
            assert before + axis.tile_px - after >= 2 * margin_px


@given(axes())
def test_a_tile_counts_nothing_near_a_border_that_is_not_the_images(made: tuple[AxisTiles, int, int, int]) -> None:
    axis, _, stride_px, margin_px = made
    if axis.tile_px < 2 * margin_px + 2 * stride_px:
        return
    for i, start in enumerate(axis.starts):
        first, stop = axis.used(i)
        assert first >= start + (margin_px // 2 if i else 0)
        assert stop <= start + axis.tile_px - (margin_px // 2 if i < len(axis.starts) - 1 else 0)


@given(axes(), st.data())
def test_the_tiles_that_reach_into_a_range_are_found(
    made: tuple[AxisTiles, int, int, int], data: st.DataObject
) -> None:
    axis = made[0]
    start = data.draw(st.integers(0, axis.length_px - 1))
    stop = data.draw(st.integers(start + 1, axis.length_px))
    expected = [i for i in range(len(axis.starts)) if axis.used(i)[0] < stop and axis.used(i)[1] > start]
    assert list(axis.reaching(start, stop)) == expected


@given(axes())
def test_a_row_of_tiles_is_final_where_the_next_one_begins_to_count(made: tuple[AxisTiles, int, int, int]) -> None:
    """The stream relies on it: `used` ranges rise, and only neighbours overlap."""
    axis = made[0]
    used = [axis.used(i) for i in range(len(axis.starts))]
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(used))
    assert all(a[1] <= c[0] for a, c in zip(used, used[2:], strict=False))


def test_an_image_smaller_than_a_tile_is_one_tile_of_its_own_size() -> None:
    grid = plan_tiles((37, 100), tile_px=64, margin_px=8, stride_px=8)
    assert grid.shape == (40, 104)
    assert grid.y == AxisTiles(40, 40, (0,), 0.0)
    assert grid.x.starts == (0, 40)
    assert grid.box(0, 1) == (0, 40, 40, 104)


def test_a_grid_is_the_product_of_its_axes() -> None:
    grid = TileGrid(AxisTiles(12, 8, (0, 4), 1.0), AxisTiles(8, 8, (0,), 0.0))
    assert grid.used(0, 0) == (0, 0, 7, 8)
    assert grid.used(1, 0) == (5, 0, 12, 8)
    assert grid.weights(0, 0)[:, 0] == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.25])
