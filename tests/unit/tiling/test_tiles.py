"""Tiles for the network."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.tiling.tiles import AxisTiles, TileGrid, plan_tiles


@st.composite
def axes(draw: st.DrawFn) -> tuple[AxisTiles, int, int, int]:
    """Return the tiles along an axis, with the stride, the margin and the border beyond the image."""
    stride_px = draw(st.sampled_from([1, 2, 8, 16]))
    border_px = draw(st.integers(0, 24))
    smallest = max(4, -(-2 * (border_px + stride_px) // stride_px))
    tile_px = stride_px * draw(st.integers(smallest, smallest + 40))
    margin_px = draw(st.integers(0, tile_px // 4))
    length_px = draw(st.integers(1, 12 * tile_px))
    grid = plan_tiles((length_px, 1), tile_px=tile_px, margin_px=margin_px, border_px=border_px, stride_px=stride_px)
    assert grid.shape == (length_px, 1)
    return grid.y, stride_px, margin_px, border_px


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
def test_tiles_share_one_pooling_grid_and_cover_the_image_and_its_border(
    made: tuple[AxisTiles, int, int, int],
) -> None:
    axis, stride_px, margin_px, border_px = made
    assert axis.tile_px % stride_px == 0
    before_px = -axis.starts[0] - border_px
    assert all((start - axis.starts[0]) % stride_px == 0 for start in axis.starts)
    after_px = axis.starts[-1] + axis.tile_px - axis.length_px - border_px
    assert (axis.length_px + 2 * border_px + before_px + after_px) % (2 * stride_px) == 0
    assert before_px + after_px < 2 * stride_px
    assert 0 <= before_px <= after_px <= before_px + 1
    for before, after in pairwise(axis.starts):
        assert before < after
        if axis.tile_px >= 2 * margin_px + 2 * stride_px:
            assert before + axis.tile_px - after >= 2 * margin_px


@given(axes())
def test_a_tile_counts_nothing_near_a_border_that_is_not_the_images(made: tuple[AxisTiles, int, int, int]) -> None:
    axis, stride_px, margin_px, _ = made
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
    """The stream relies on it: `used` ranges rise, and only neighbours overlap.

    The last two may both end with the image: of tiles of 64 px with a margin of 16, those of 609 px do.
    """
    axis = made[0]
    used = [axis.used(i) for i in range(len(axis.starts))]
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(used))
    assert all(a[1] < b[1] for a, b in pairwise(used[:-1]))
    assert used[-1][1] == axis.length_px
    assert all(a[1] <= c[0] for a, c in zip(used, used[2:], strict=False))


def test_an_image_smaller_than_a_tile_is_one_tile_with_its_border() -> None:
    grid = plan_tiles((37, 100), tile_px=64, margin_px=8, border_px=5, stride_px=8)
    assert grid.shape == (37, 100)
    assert grid.y == AxisTiles(37, 48, (-5,), 0.0)
    assert grid.x.starts == (-6, 26, 50)
    assert grid.box(0, 1) == (-5, 26, 43, 82)


def test_a_grid_is_the_product_of_its_axes() -> None:
    grid = TileGrid(AxisTiles(12, 8, (0, 4), 1.0), AxisTiles(8, 8, (0,), 0.0))
    assert grid.used(0, 0) == (0, 0, 7, 8)
    assert grid.used(1, 0) == (5, 0, 12, 8)
    assert grid.y.weights(0) == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.25])
