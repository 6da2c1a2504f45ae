"""Where the flow carries each pixel."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Flow
from cohortseg.errors import ImageError
from cohortseg.kernels._bands import in_ranges
from cohortseg.kernels._checks import check_field
from cohortseg.kernels._jit import jit

# The longest exact walk before positions are snapped to the grid. Shorter walks lose slow flows to the snapping.
_EXACT_STEPS = 16


def walk_length(niter: int) -> tuple[int, int]:
    """Return how many exact steps are taken for so many Euler steps, and how often the walk is then doubled."""
    doublings = max(0, int(np.ceil(np.log2(niter / _EXACT_STEPS))))
    return -(-niter // 2**doublings), doublings


def follow_flow(
    flow: Flow, inside: NDArray[np.bool_], *, niter: int, image: Box | None = None, n_threads: int = 1
) -> NDArray[np.int32]:
    """Carry every inside pixel along the flow and return where it ends.

    A pixel's path depends only on where it is. So at most 16 exact Euler steps, with the flow interpolated
    bilinearly, are taken from each pixel centre; the end is snapped to the nearest pixel, and the resulting map from
    pixels to pixels is composed with itself until it spans at least `niter` steps (pointer doubling).
    Positions are kept as a pixel and a fraction, so that a path is the same bit for bit in every window that holds it.
    A step is the flow over five, 0 outside the cells. Positions stop at the edges of the array.

    The dynamics are those of Stringer et al. 2021 (Cellpose, Nature Methods 18), as `cellpose.dynamics.steps_interp`
    runs them. That function reads the flow not at the position but beside it, from half a pixel before at the first
    row and column of the image to half a pixel behind at the last ones. With `image` given, so does this one.

    Parameters
    ----------
    flow
        (2, y, x) float32 in (y, x) order, five times a unit step.
    inside
        (y, x) bool: the pixels of cells.
    niter
        Euler steps, at least 1.
    image
        The whole image in pixels of this array, (-y0, -x0, height - y0, width - x0) for a window at (y0, x0), to read
        the flow where the reference does. None to read it at the positions, which finds outlines nearer to the
        true ones where cells touch.
    n_threads
        Threads that share the work; the result does not depend on them.

    Returns
    -------
    ends
        (2, y, x) int32: the pixel (y, x) at which each pixel ends. Outside pixels stay where they are.

    Raises
    ------
    ImageError
        If shapes or types do not fit, `niter` is below 1, the window reaches out of the image, or the flow is not
        finite on an inside pixel.
    """
    if inside.ndim != 2 or inside.dtype != np.bool_ or inside.size >= 2**31 or niter < 1:
        raise ImageError(
            f"a mask of shape {inside.shape} and type {inside.dtype}, and {niter} steps",
            "expected a (y, x) array of bool of fewer than 2^31 pixels, and at least one step",
            "Follow the flow in windows.",
        )
    shape = (inside.shape[0], inside.shape[1])
    flow = check_field(flow, shape, "a flow")
    step_field = np.zeros(((shape[0] + 2) * (shape[1] + 2), 2), np.float32)
    bad = np.zeros(shape[0], np.int64)
    in_ranges(lambda y0, y1: _step_field(flow, inside, y0, y1, step_field, bad), 0, shape[0], n_threads)
    n_bad = int(bad.sum())
    if n_bad:
        raise not_finite(n_bad)
    steps, doublings = walk_length(niter)
    shifts, ends = reading_shifts(shape, image), np.empty(inside.size, np.int32)
    in_ranges(lambda y0, y1: _walk(step_field, inside, steps, shifts, y0, y1, ends), 0, shape[0], n_threads)
    doubled = np.empty_like(ends)
    for _ in range(doublings):
        in_ranges(partial(_double, ends, doubled), 0, ends.size, n_threads)
        ends, doubled = doubled, ends
    unravelled = np.empty((2, *shape), np.int32)
    in_ranges(lambda y0, y1: _unravel(ends, y0, y1, unravelled), 0, shape[0], n_threads)
    return unravelled


def reading_shifts(shape: tuple[int, int], image: Box | None) -> NDArray[np.float64]:
    """Return (2, 3): for y and x the a, b and c of c (p + b) - a, how far from position p the flow is read."""
    shifts = np.zeros((2, 3))
    if image is None:
        return shifts
    if image.intersection(Box(0, 0, *shape)) != Box(0, 0, *shape):
        raise ImageError(
            f"a window of {shape} in an image of {image}", "expected the image to hold it", "Clip the window."
        )
    for axis, (start, size) in enumerate(((image.y0, image.height), (image.x0, image.width))):
        if size > 1:
            shifts[axis] = 0.5, -start, 1 / (size - 1)
    return shifts


def not_finite(n_bad: int) -> ImageError:
    """Return the error of a flow that is infinite or missing on so many pixels of cells."""
    return ImageError(
        f"a flow that is not finite on {n_bad} pixels of cells",
        "expected finite numbers",
        "Check the image for missing values, and the network for overflow at half precision.",
    )


@jit
def _step_field(
    flow: Flow, inside: NDArray[np.bool_], y0: int, y1: int, steps: NDArray[np.float32], bad: NDArray[np.int64]
) -> None:
    """Put the steps of rows y0 to y1 - 1 into ((y + 2) (x + 2), 2) zeros, and count those not finite by row.

    No step is longer than the window, which changes no end but keeps positions within what an integer holds.
    """
    height, width = inside.shape
    longest = np.float32(max(height, width))
    for y in range(y0, y1):
        for x in range(width):
            if inside[y, x]:
                at = (y + 1) * (width + 2) + x + 1
                for axis in range(2):
                    step = flow[axis, y, x] / np.float32(5)
                    bad[y] += not np.isfinite(step)
                    steps[at, axis] = min(max(step, -longest), longest)


@jit
def _walk(
    field: NDArray[np.float32],
    inside: NDArray[np.bool_],
    n_steps: int,
    shifts: NDArray[np.float64],
    y0: int,
    y1: int,
    ends: NDArray[np.int32],
) -> None:
    """Take exact steps from the inside pixels of rows y0 to y1 - 1; set the flat index of the pixel at each end."""
    height, width = inside.shape
    # Pixels of a row step side by side: their paths do not wait for one another.
    columns = np.empty(width, np.int64)
    ys, xs = np.empty(width, np.int64), np.empty(width, np.int64)
    fys, fxs = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(y0, y1):
        n_inside = 0
        for x in range(width):
            ends[y * width + x] = y * width + x
            if inside[y, x]:
                columns[n_inside] = x
                n_inside += 1
        ys[:n_inside], xs[:n_inside] = y, columns[:n_inside]
        fys[:n_inside], fxs[:n_inside] = 0, 0
        for _ in range(n_steps):
            for i in range(n_inside):
                row, wy = _reading_place(ys[i], fys[i], shifts[0])
                column, wx = _reading_place(xs[i], fxs[i], shifts[1])
                near = row * (width + 2) + column
                dy, dx = _interpolate(field, np.uintp(near), np.uintp(near + width + 2), wy, wx)
                ys[i], fys[i] = _advance(ys[i], fys[i] + dy, height)
                xs[i], fxs[i] = _advance(xs[i], fxs[i] + dx, width)
        for i in range(n_inside):
            end_y, end_x = ys[i] + (fys[i] >= 0.5), xs[i] + (fxs[i] >= 0.5)
            ends[y * width + columns[i]] = end_y * width + end_x


@jit
def _reading_place(pixel: int, fraction: np.float32, shift: NDArray[np.float64]) -> tuple[int, np.float32]:
    """Return the index in the framed field, and the weight of the next, for the place to read the flow at."""
    # From the position in the whole image, so that every window rounds alike.
    at = fraction + (shift[2] * (pixel + shift[1] + fraction) - shift[0])
    whole = np.floor(at)
    return pixel + int(whole) + 1, np.float32(at - whole)


@jit
def _interpolate(
    field: NDArray[np.float32], near: np.uintp, below: np.uintp, wy: np.float32, wx: np.float32
) -> tuple[np.float32, np.float32]:
    """Return the bilinear mean over two pixels from `near` and two from `below`."""
    one = np.uintp(1)
    w11 = wy * wx
    w10 = wy - w11
    w01 = wx - w11
    w00 = np.float32(1) - wy - w01
    dy = w00 * field[near, 0] + w01 * field[near + one, 0] + w10 * field[below, 0] + w11 * field[below + one, 0]
    dx = w00 * field[near, 1] + w01 * field[near + one, 1] + w10 * field[below, 1] + w11 * field[below + one, 1]
    return dy, dx


@jit
def _advance(pixel: int, fraction: np.float32, size: int) -> tuple[int, np.float32]:
    """Carry whole pixels from the fraction into the pixel, and stop at the first and last pixel."""
    whole = np.floor(fraction)
    pixel += int(whole)
    if pixel < 0:
        return 0, np.float32(0)
    if pixel >= size - 1:
        return size - 1, np.float32(0)
    return pixel, fraction - whole


@jit
def _double(ends: NDArray[np.int32], doubled: NDArray[np.int32], first: int, last: int) -> None:
    """Compose the map from pixels to pixels with itself, for the pixels first to last - 1."""
    for pixel in range(first, last):
        doubled[pixel] = ends[ends[pixel]]


@jit
def _unravel(ends: NDArray[np.int32], y0: int, y1: int, unravelled: NDArray[np.int32]) -> None:
    """Turn the flat indices of rows y0 to y1 - 1 into (2, y, x) rows and columns."""
    width = unravelled.shape[2]
    for y in range(y0, y1):
        for x in range(width):
            end = ends[y * width + x]
            unravelled[0, y, x] = end // width
            unravelled[1, y, x] = end - unravelled[0, y, x] * width
