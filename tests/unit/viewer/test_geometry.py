"""Zoom levels are numbered as Deep Zoom images are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.arrays import Box
from cohortseg.viewer.geometry import TILE_PX, count_levels, zoom_of


@pytest.mark.parametrize(("side", "levels"), [(1, 1), (2, 2), (3, 3), (1024, 11), (1025, 12), (30_000, 16)])
def test_the_first_level_is_a_pixel_and_the_last_the_image(side: int, levels: int) -> None:
    assert count_levels((side, 1)) == count_levels((1, side)) == levels
    first, last = zoom_of((side, 1), 0), zoom_of((side, 1), levels - 1)
    assert first is not None
    assert last is not None
    assert first.shape == (1, 1)
    assert (last.shape, last.halvings) == ((side, 1), 0)
    assert zoom_of((side, 1), levels) is None
    assert zoom_of((side, 1), -1) is None


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 12))
def test_tiles_cover_a_level_once(height: int, width: int, level: int) -> None:
    zoom = zoom_of((height, width), level)
    if zoom is None:
        return
    n_rows, n_columns = (-(-side // TILE_PX) for side in zoom.shape)
    boxes = [zoom.tile(column, row) for row in range(n_rows) for column in range(n_columns)]
    assert sum(box.height * box.width for box in boxes if box) == zoom.shape[0] * zoom.shape[1]
    assert boxes[0] == Box(0, 0, min(TILE_PX, zoom.shape[0]), min(TILE_PX, zoom.shape[1]))
    assert zoom.tile(n_columns, 0) is None
    assert zoom.tile(0, n_rows) is None
