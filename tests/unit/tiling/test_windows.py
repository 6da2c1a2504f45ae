"""Windows for the post-processing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.arrays import Box
from cohortseg.tiling.windows import Part, Strip, Window, plan_strips, select_part, window_borders

PLANS = st.tuples(
    st.tuples(st.integers(1, 100), st.integers(1, 100)), st.integers(0, 10), st.integers(6, 60), st.integers(1, 150)
)
"""Shape, halo, core, strip."""


def planned(plan: tuple[tuple[int, int], int, int, int]) -> tuple[Strip, ...]:
    shape, halo_px, core_px, strip_px = plan
    return plan_strips(shape, core_px=max(core_px, 2 * halo_px), halo_px=halo_px, strip_px=strip_px)


def windows_of(strips: tuple[Strip, ...]) -> list[Window]:
    return [window for strip in strips for row in strip.rows for window in row]


@given(PLANS)
def test_every_pixel_is_owned_by_exactly_one_window(plan: tuple[tuple[int, int], int, int, int]) -> None:
    owners = np.zeros(plan[0], int)
    for window in windows_of(planned(plan)):
        owners[window.core.slices] += 1
    assert (owners == 1).all()


@given(PLANS)
def test_a_window_sees_its_core_and_a_halo(plan: tuple[tuple[int, int], int, int, int]) -> None:
    shape, halo_px = plan[:2]
    for strip in planned(plan):
        for window in windows_of((strip,)):
            assert window.outer == window.core.grown(halo_px, shape)
            assert window.wide == window.core.grown(2 * halo_px, shape)
            assert window.wide.intersection(strip.seen) == window.wide


@given(PLANS)
def test_the_inner_part_of_a_window_is_what_no_other_window_sees(plan: tuple[tuple[int, int], int, int, int]) -> None:
    windows = windows_of(planned(plan))
    seen = np.zeros(plan[0], int)
    for window in windows:
        seen[window.wide.slices] += 1
    for window in windows:
        alone = np.zeros(plan[0], bool)
        alone[window.inner.slices] = True
        expected = np.zeros(plan[0], bool)
        expected[window.core.slices] = seen[window.core.slices] == 1
        np.testing.assert_array_equal(alone, expected)


@given(PLANS)
def test_a_strip_knows_what_the_next_one_sees(plan: tuple[tuple[int, int], int, int, int]) -> None:
    strips = planned(plan)
    for strip, following in zip(strips, [*strips[1:], None], strict=True):
        assert strip.next_x0 == (plan[0][1] if following is None else following.seen.x0)


def test_windows_come_strip_by_strip_from_the_top_and_from_the_left() -> None:
    strips = plan_strips((20, 40), core_px=10, halo_px=2, strip_px=20)
    corners = [[(window.core.y0, window.core.x0) for row in strip.rows for window in row] for strip in strips]
    assert corners == [[(0, 0), (0, 10), (10, 0), (10, 10)], [(0, 20), (0, 30), (10, 20), (10, 30)]]


@given(PLANS, st.integers(1, 9))
def test_parts_share_out_the_windows_in_order_and_see_what_came_before(
    plan: tuple[tuple[int, int], int, int, int], count: int
) -> None:
    strips = planned(plan)
    windows = windows_of(strips)
    given_out = []
    for index in range(count):
        first = len(given_out)
        known: list[Box] = []
        for strip in select_part(strips, Part(index, count)):
            for row in strip.rows:
                for window in row:
                    known.append(window.core)
                    if not window.ghost:
                        given_out.append(window)
                        before = windows[: windows.index(window)]
                        needed = [w.core for w in before if min(w.wide.intersection(window.wide).shape) > 0]
                        assert set(needed) <= set(known)
        assert all(not window.ghost for window in given_out[first:])
    assert given_out == windows


def test_the_whole_is_one_part_without_ghosts() -> None:
    strips = plan_strips((50, 70), core_px=10, halo_px=3, strip_px=30)
    assert select_part(strips, Part()) == strips


def test_borders_are_where_one_core_ends_and_the_next_begins() -> None:
    strips = plan_strips((20, 40), core_px=10, halo_px=2, strip_px=20)
    assert window_borders(strips) == ((10,), (10, 20, 30))
