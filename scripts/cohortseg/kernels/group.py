"""Pixels that end together are one cell."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError
from cohortseg.kernels._jit import jit

# Constants of the reference's method, in pixels and in pixels that end on one pixel.
PEAK_REACH = 2
PEAK_COUNT = 10
GROWTH_STEPS = 5
GROWTH_COUNT = 2


def group_endpoints(ends: NDArray[np.int32], inside: NDArray[np.bool_]) -> tuple[Labels, NDArray[np.int32]]:
    """Group pixels by where they end.

    Of the histogram of end points, the peaks are the pixels with more than 10 ends that no pixel of the 5 × 5 around
    them exceeds. Each is grown five times by 3 × 3 over pixels with more than 2 ends, so within its 11 × 11. Where
    grown peaks overlap, the one with more ends wins; of equal ones, the first in (y, x) order.
    Each inside pixel takes the label of the peak that it ends in.

    The method is that of `cellpose.dynamics.get_masks_torch` (Cellpose 4.2), but for its removal of cells
    larger than a fraction of the image, which is not applied: nothing here depends on more than the
    neighbourhood, so windows agree with the whole.

    Parameters
    ----------
    ends
        (2, y, x) int32: the pixel (y, x) at which each pixel ends.
    inside
        (y, x) bool: the pixels of cells; the ends of others are not looked at.

    Returns
    -------
    labels, seeds
        (y, x) uint32 numbered from 1 in the (y, x) order of the peaks, 0 for background; and (n, 2) int32,
        the peak (y, x) of each label, label k in row k - 1. Peaks that no pixel ends in are left out.

    Raises
    ------
    ImageError
        If shapes or types do not fit, or an inside pixel ends out of the array.
    """
    if inside.ndim != 2 or inside.dtype != np.bool_ or ends.shape != (2, *inside.shape):
        raise ImageError(
            f"end points of shape {ends.shape} and a mask of shape {inside.shape} and type {inside.dtype}",
            "expected (2, y, x) whole numbers and (y, x) bool over the same pixels",
            "Give end points and mask of one window.",
        )
    ends = np.ascontiguousarray(ends, np.int32)
    counts, n_astray = _count_ends(ends, inside)
    if n_astray:
        raise ImageError(f"{n_astray} pixels that end out of the window", "expected none", "Clip the end points.")
    seeds = _find_peaks(counts)
    peak_counts = counts[seeds[:, 0], seeds[:, 1]]
    # Painted in ascending order, so that the winner comes last: the most ends, then the first in (y, x) order.
    order = np.lexsort((-np.arange(len(seeds)), peak_counts))
    owner = _grow_peaks(counts, seeds, order)
    labels, kept = _label_pixels(ends, inside, owner, len(seeds))
    return labels, seeds[kept]


@jit
def _count_ends(ends: NDArray[np.int32], inside: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Return the histogram of end points, and how many inside pixels end out of the array."""
    height, width = inside.shape
    counts = np.zeros((height, width), np.int32)
    n_astray = 0
    for y in range(height):
        for x in range(width):
            if inside[y, x]:
                end_y, end_x = ends[0, y, x], ends[1, y, x]
                if 0 <= end_y < height and 0 <= end_x < width:
                    counts[end_y, end_x] += 1
                else:
                    n_astray += 1
    return counts, n_astray


@jit
def _find_peaks(counts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the peaks (n, 2) of the histogram in (y, x) order."""
    height, width = counts.shape
    # Every peak holds more than PEAK_COUNT pixels.
    peaks = np.empty((counts.size // PEAK_COUNT + 1, 2), np.int32)
    n_peaks = 0
    for y in range(height):
        for x in range(width):
            count = counts[y, x]
            if count <= PEAK_COUNT:
                continue
            top, bottom = max(y - PEAK_REACH, 0), min(y + PEAK_REACH + 1, height)
            left, right = max(x - PEAK_REACH, 0), min(x + PEAK_REACH + 1, width)
            if counts[top:bottom, left:right].max() == count:
                peaks[n_peaks, 0], peaks[n_peaks, 1] = y, x
                n_peaks += 1
    return peaks[:n_peaks].copy()


@jit
def _grow_peaks(counts: NDArray[np.int32], seeds: NDArray[np.int32], order: NDArray[np.int64]) -> NDArray[np.int32]:
    """Paint each peak's number, from 1, over what it grows to; later ones in `order` win."""
    height, width = counts.shape
    owner = np.zeros((height, width), np.int32)
    reach = 2 * GROWTH_STEPS + 1
    front = np.empty((reach * reach, 2), np.int32)
    for seed in order:
        front[0, 0], front[0, 1] = seeds[seed, 0], seeds[seed, 1]
        owner[seeds[seed, 0], seeds[seed, 1]] = seed + 1
        begin, end = 0, 1
        for _ in range(GROWTH_STEPS):
            grown = end
            for at in range(begin, end):
                for y in range(max(front[at, 0] - 1, 0), min(front[at, 0] + 2, height)):
                    for x in range(max(front[at, 1] - 1, 0), min(front[at, 1] + 2, width)):
                        if counts[y, x] > GROWTH_COUNT and owner[y, x] != seed + 1:
                            owner[y, x] = seed + 1
                            front[grown, 0], front[grown, 1] = y, x
                            grown += 1
            begin, end = end, grown
    return owner


@jit
def _label_pixels(
    ends: NDArray[np.int32], inside: NDArray[np.bool_], owner: NDArray[np.int32], n_seeds: int
) -> tuple[Labels, NDArray[np.bool_]]:
    """Give each inside pixel its peak's number, renumbered over the peaks that have pixels; return which have."""
    height, width = inside.shape
    labels = np.zeros((height, width), np.uint32)
    kept = np.zeros(n_seeds, np.bool_)
    for y in range(height):
        for x in range(width):
            if inside[y, x]:
                number = owner[ends[0, y, x], ends[1, y, x]]
                labels[y, x] = number
                if number:
                    kept[number - 1] = True
    numbers = np.zeros(n_seeds + 1, np.uint32)
    n_kept = 0
    for seed in range(n_seeds):
        if kept[seed]:
            n_kept += 1
            numbers[seed + 1] = n_kept
    for y in range(height):
        for x in range(width):
            labels[y, x] = numbers[labels[y, x]]
    return labels, kept
