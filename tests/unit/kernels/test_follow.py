from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.kernels.follow import follow_flow

dynamics = pytest.importorskip("cellpose.dynamics")


def exact_ends(flow: np.ndarray, inside: np.ndarray, niter: int) -> np.ndarray:
    """Plain Euler steps from every inside pixel, without snapping."""
    steps = np.where(inside, flow, 0).astype(np.float64) / 5
    limit = np.array(inside.shape).reshape(2, 1) - 1
    at = np.stack(np.nonzero(inside)).astype(np.float64)
    for _ in range(niter):
        at = np.clip(at + np.stack([map_coordinates(step, at, order=1) for step in steps]), 0, limit)
    return at


def grid(shape: tuple[int, int]) -> np.ndarray:
    return np.stack(np.mgrid[: shape[0], : shape[1]])


def test_pixels_follow_a_uniform_flow_in_y_x_order() -> None:
    flow = np.zeros((2, 9, 40), np.float32)
    flow[1] = 5
    ends = follow_flow(flow, np.ones((9, 40), bool), niter=3)
    assert ends.dtype == np.int32
    assert np.array_equal(ends[0], grid((9, 40))[0])
    assert np.array_equal(ends[1], np.minimum(grid((9, 40))[1] + 3, 39))


def test_pixels_outside_stay_where_they_are() -> None:
    flow = np.full((2, 6, 7), 5, np.float32)
    inside = np.zeros((6, 7), bool)
    inside[2, 3] = True
    ends = follow_flow(flow, inside, niter=200)
    assert np.array_equal(ends[:, ~inside], grid((6, 7))[:, ~inside])


def test_the_flow_of_outside_pixels_is_not_followed() -> None:
    flow = np.full((2, 1, 20), 5, np.float32)
    inside = np.arange(20)[None] < 5
    assert follow_flow(flow, inside, niter=200)[1, 0, 0] == 5


def test_few_steps_are_exact_to_the_nearest_pixel(crowded_field: Callable) -> None:
    field = crowded_field(12, 80, 11, noise=1, blur=1, seed=1)
    exact = exact_ends(field.flow, field.inside, 16)
    ends = follow_flow(field.flow, field.inside, niter=16)[:, field.inside]
    assert np.abs(ends - exact).max() <= 0.501


def test_many_steps_end_where_plain_steps_end(crowded_field: Callable) -> None:
    field = crowded_field(40, 160, 12, noise=0, blur=0, seed=2)
    exact = exact_ends(field.flow, field.inside, 200)
    distance = np.linalg.norm(follow_flow(field.flow, field.inside, niter=200)[:, field.inside] - exact, axis=0)
    assert np.mean(distance < 2) > 0.99


def test_with_the_image_given_pixels_end_where_the_reference_has_them(crowded_field: Callable) -> None:
    field = crowded_field(12, 80, 11, noise=1, blur=1, seed=3)
    ends = follow_flow(field.flow, field.inside, niter=16, image=Box(0, 0, 80, 80))[:, field.inside]
    reference = dynamics.follow_flows(field.flow * field.inside / 5, np.nonzero(field.inside), niter=16).numpy()
    assert np.abs(ends - reference).max() <= 0.502


@pytest.mark.parametrize("relative_to_image", [False, True])
def test_a_window_has_the_ends_of_the_whole_bit_for_bit(crowded_field: Callable, relative_to_image: bool) -> None:
    field = crowded_field(90, 210, 10, noise=2, blur=1, seed=4)
    window = Box(37, 21, 199, 207)
    shape = field.inside.shape
    of_whole = Box(0, 0, *shape) if relative_to_image else None
    of_window = Box(0, 0, *shape).shifted(-window.y0, -window.x0) if relative_to_image else None
    whole = follow_flow(field.flow, field.inside, niter=200, image=of_whole)
    part = follow_flow(
        np.ascontiguousarray(field.flow[:, *window.slices]), field.inside[window.slices], niter=200, image=of_window
    )
    # No path is longer here than three diameters.
    core = Box(40, 40, 120, 120)
    expected = whole[:, *core.shifted(window.y0, window.x0).slices] - [[[window.y0]], [[window.x0]]]
    assert np.array_equal(part[:, *core.slices], expected)


@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(0, 6), st.integers(0, 6)), st.integers(1, 300))
def test_no_flow_leads_out_of_the_array(seed: int, shape: tuple[int, int], niter: int) -> None:
    rng = np.random.default_rng(seed)
    flow = (rng.normal(0, 1, (2, *shape)) * 10.0 ** rng.integers(-3, 38, (2, *shape))).astype(np.float32)
    inside = rng.random(shape) < 0.8
    for image in (None, Box(0, 0, *shape), Box(-3, -2, 40, 50)):
        ends = follow_flow(flow, inside, niter=niter, image=image)
        assert ends.shape == (2, *shape)
        assert (ends >= 0).all()
        assert (ends < np.array(shape).reshape(2, 1, 1)).all()


def test_a_flow_that_is_not_finite_in_a_cell_is_refused() -> None:
    flow = np.zeros((2, 4, 4), np.float32)
    flow[1, 2, 2] = np.nan
    flow[0, 0, 0] = np.inf
    inside = np.ones((4, 4), bool)
    inside[0, 0] = False
    with pytest.raises(ImageError, match="not finite on 1 pixels"):
        follow_flow(flow, inside, niter=200)


def test_arrays_that_do_not_fit_are_refused() -> None:
    inside = np.ones((4, 4), bool)
    with pytest.raises(ImageError, match=r"\(2, 4, 4\)"):
        follow_flow(np.zeros((2, 4, 5), np.float32), inside, niter=200)
    with pytest.raises(ImageError, match="bool"):
        follow_flow(np.zeros((2, 4, 4), np.float32), inside.astype(np.float32), niter=200)
    with pytest.raises(ImageError, match="0 steps"):
        follow_flow(np.zeros((2, 4, 4), np.float32), inside, niter=0)
    with pytest.raises(ImageError, match="hold it"):
        follow_flow(np.zeros((2, 4, 4), np.float32), inside, niter=1, image=Box(1, 0, 4, 4))
