"""Labels checked against the flow, filled and thinned out."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Flow, Labels
from cohortseg.errors import ImageError
from cohortseg.kernels._checks import check_field, check_labels, count_labels
from cohortseg.kernels._jit import jit
from cohortseg.kernels._pieces import padded_pieces
from cohortseg.kernels.raster import fill_polygons
from cohortseg.kernels.trace import trace_kernel


def flow_errors(labels: Labels, flow: Flow, targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far the flow lies from the flow that each label would have.

    The mean over a label's pixels of the squared length of the difference, as
    `cellpose.dynamics.flow_error` has it.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background, others numbered 1 to n.
    flow
        (2, y, x) float32 as the network gives it, five times a unit step.
    targets
        (2, y, x) float32: the unit flow of the labels.

    Returns
    -------
    errors
        (n + 1,) float32, index = label; 0 for background and for labels without pixels.

    Raises
    ------
    ImageError
        If shapes do not fit, or the labels are not numbered from 1.
    """
    labels = check_labels(labels)
    shape = (labels.shape[0], labels.shape[1])
    n_labels = count_labels(labels)
    return _flow_errors(labels, check_field(flow, shape, "a flow"), check_field(targets, shape, "a target"), n_labels)


def fill_holes(labels: Labels) -> Labels:
    """Give each cell what it wholly encloses, be it background or other cells.

    Enclosed is what cannot be left without crossing the cell, by 4-connected steps, towards the outside of the
    array; pixels at its edge are never enclosed. Nested cells go to the outermost. Where two cells enclose one
    another crosswise, at corners, the larger hole is filled last; of equal ones, that of the smaller
    label. In effect this is `fill_holes_and_remove_small_masks` of `cellpose.utils`, but for those crossings, where
    that function depends on the order of the labels.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background; any other values.

    Returns
    -------
    Labels
        A new array. Labels swallowed by others are missing from it.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array.
    """
    filled = check_labels(labels).copy()
    # Labels themselves, not their pieces: a wall may be closed by corners only.
    xy, offsets, ring_label = trace_kernel(np.pad(filled, 1))
    double_areas = _signed_double_areas(xy, offsets)
    holes = np.flatnonzero(double_areas < 0)
    if len(holes) == 0:
        return filled
    # Later polygons win: ascending area, then descending label.
    holes = holes[np.lexsort((-ring_label[holes].astype(np.int64), -double_areas[holes]))]
    lengths = offsets[holes + 1] - offsets[holes]
    hole_offsets = np.concatenate(([0], np.cumsum(lengths)))
    vertices = np.repeat(offsets[holes] - hole_offsets[:-1], lengths) + np.arange(hole_offsets[-1])
    fill_polygons(
        xy[vertices].astype(np.float64), hole_offsets, np.arange(len(holes) + 1), ring_label[holes], filled, (0, 0)
    )
    return filled


def largest_pieces(labels: Labels) -> Labels:
    """Keep only the largest 4-connected piece of each label.

    Of equal pieces, the one whose first pixel in raster order comes first.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background, others numbered 1 to n.

    Returns
    -------
    Labels
        A new array with the same labels.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array, or not numbered from 1.
    """
    labels = check_labels(labels)
    return _largest_pieces(labels, *padded_pieces(labels), count_labels(labels))


def areas(labels: Labels) -> NDArray[np.int64]:
    """Count the pixels of each label.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background, others numbered 1 to n.

    Returns
    -------
    areas
        (n + 1,) int64 in pixels, index = label, that of the background included.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array, or not numbered from 1.
    """
    labels = check_labels(labels)
    return _areas(labels, count_labels(labels))


def relabel(labels: Labels, keep: NDArray[np.bool_]) -> Labels:
    """Keep some labels and renumber them from 1 in their order; the others become background.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background, others numbered 1 to n.
    keep
        (n + 1,) bool, index = label; that of the background is not looked at.

    Returns
    -------
    Labels
        A new array.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array, or `keep` has no entry for one of them.
    """
    labels = check_labels(labels)
    n_labels = count_labels(labels)
    if keep.dtype != np.bool_ or keep.ndim != 1 or len(keep) <= n_labels:
        raise ImageError(
            f"{keep.shape} flags of type {keep.dtype} for labels up to {n_labels}",
            f"expected at least {n_labels + 1} of bool",
            "Make one flag for each label and one for the background.",
        )
    kept = keep.copy()
    kept[0] = False
    return _look_up(labels, np.where(kept, np.cumsum(kept), 0).astype(np.uint32))


@jit
def _flow_errors(labels: Labels, flow: Flow, targets: NDArray[np.float32], n_labels: int) -> NDArray[np.float32]:
    sums = np.zeros(n_labels + 1, np.float64)
    counts = np.zeros(n_labels + 1, np.int64)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label:
                dy = flow[0, y, x] / np.float32(5) - targets[0, y, x]
                dx = flow[1, y, x] / np.float32(5) - targets[1, y, x]
                sums[label] += dy * dy + dx * dx
                counts[label] += 1
    return (sums / np.maximum(counts, 1)).astype(np.float32)


@jit
def _signed_double_areas(xy: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return twice the shoelace area of each closed ring."""
    double_areas = np.zeros(offsets.size - 1, np.int64)
    for ring in range(offsets.size - 1):
        for vertex in range(offsets[ring], offsets[ring + 1] - 1):
            x0, y0 = np.int64(xy[vertex, 0]), np.int64(xy[vertex, 1])
            x1, y1 = np.int64(xy[vertex + 1, 0]), np.int64(xy[vertex + 1, 1])
            double_areas[ring] += x0 * y1 - x1 * y0
    return double_areas


@jit
def _largest_pieces(
    labels: Labels, pieces: NDArray[np.int32], piece_label: NDArray[np.uint32], n_labels: int
) -> Labels:
    height, width = labels.shape
    sizes = np.zeros(piece_label.size + 1, np.int64)
    for y in range(height):
        for x in range(width):
            sizes[pieces[y + 1, x + 1]] += 1
    best = np.zeros(n_labels + 1, np.int32)
    sizes[0] = 0
    for piece in range(1, sizes.size):
        label = piece_label[piece - 1]
        if sizes[piece] > sizes[best[label]]:
            best[label] = piece
    kept = np.zeros_like(labels)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label and best[label] == pieces[y + 1, x + 1]:
                kept[y, x] = label
    return kept


@jit
def _areas(labels: Labels, n_labels: int) -> NDArray[np.int64]:
    counts = np.zeros(n_labels + 1, np.int64)
    for label in labels.ravel():
        counts[label] += 1
    return counts


@jit
def _look_up(labels: Labels, numbers: NDArray[np.uint32]) -> Labels:
    renumbered = np.empty_like(labels)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            renumbered[y, x] = numbers[labels[y, x]]
    return renumbered
