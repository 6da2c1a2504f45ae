"""Boxes laid side by side neither touch nor leave the atlas."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.on_device.atlas import plan_atlas

sides = st.integers(1, 60)


@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=60))
def test_boxes_keep_a_pixel_apart_and_come_by_falling_steps(boxes: list[tuple[int, int]]) -> None:
    heights, widths = np.array(boxes).T
    atlas = plan_atlas(heights, widths)
    taken = np.zeros(atlas.shape, int)
    for top, left, height, width in zip(atlas.tops, atlas.lefts, heights, widths, strict=True):
        assert min(top, left) >= 1
        taken[top : top + height, left : left + width] += 1
        taken[top - 1 : top + height + 1, left - 1 : left + width + 1] += 100
    own = taken % 100
    assert own.max() == 1
    assert own.sum() == (heights * widths).sum()
    # A box's own pixels see its own frame alone: 1 for itself, 100 for the frame.
    assert (taken[own == 1] == 101).all()
    assert (np.diff(atlas.steps) <= 0).all()
    assert np.array_equal(atlas.steps, 2 * (heights + widths + 2)[atlas.order])
    ends = (atlas.tops + heights)[atlas.order] + 1
    assert (np.maximum.accumulate(ends) <= atlas.bottoms).all()
    assert atlas.bottoms[-1] == atlas.shape[0]
    if len(boxes) > 3:
        assert own.mean() > 0.02


def test_many_like_boxes_fill_most_of_it() -> None:
    rng = np.random.default_rng(0)
    heights, widths = rng.integers(20, 30, (2, 3000))
    atlas = plan_atlas(heights, widths)
    assert (heights * widths).sum() > 0.8 * np.prod(atlas.shape)
