"""From labels to flows: the field that a network learns and that the flow error compares with."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Flow, Labels
from cohortseg.kernels._bands import in_ranges
from cohortseg.kernels._jit import jit


def flow_targets(labels: Labels, *, n_threads: int = 1) -> Flow:
    """Return the unit flow of each pixel towards the centre of its cell.

    Heat is fed into the cell's centre and diffuses within the cell alone; the flow is the direction of the gradient
    of all heat, that of touching cells included. Follows Stringer et al. 2021 (Cellpose, Nature Methods 18:100,
    "diffusion") as `cellpose.dynamics.masks_to_flows` 4.2 has it, but for the number of iterations: twice each
    cell's own height plus width, not that of the image's largest cell, so that a flow depends on the cell and on
    those that touch it only.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background. Values need not be consecutive; a label in several pieces is one cell.
    n_threads
        Threads that share the work; the result does not depend on them.

    Returns
    -------
    Flow
        (2, y, x) float32 in (y, x) order, of length 1 inside cells (0 where the gradient vanishes), 0 outside.
    """
    if labels.size == 0 or not labels.any():
        return np.zeros((2, *labels.shape), np.float32)
    dense, n_cells = _dense(labels)
    warmth = np.zeros((dense.shape[0] + 2, dense.shape[1] + 2), np.float64)
    boxes = _boxes(dense, n_cells)
    in_ranges(lambda first, last: _diffuse(dense, boxes, first, last, warmth), 1, n_cells + 1, n_threads)
    flow = np.zeros((2, *dense.shape), np.float32)
    in_ranges(lambda first, last: _directions(dense, warmth, first, last, flow), 0, dense.shape[0], n_threads)
    return flow


def _dense(labels: Labels) -> tuple[NDArray[np.int32], int]:
    """Return labels numbered from 1 without gaps, and how many there are; in linear time unless they are huge."""
    largest = int(labels.max())
    if largest > 2 * labels.size:
        values, inverse = np.unique(labels, return_inverse=True)
        first = 0 if values[0] == 0 else 1
        return (inverse.reshape(labels.shape) + first).astype(np.int32), len(values) - 1 + first
    present = _present(labels, largest)
    if present[1:].all():
        return labels.astype(np.int32), largest
    numbers = np.where(present, np.cumsum(present), 0).astype(np.int32)
    return numbers[labels], int(numbers.max())


@jit
def _present(labels: Labels, largest: int) -> NDArray[np.bool_]:
    """Return which values from 0 to the largest there are; 0 counts as absent."""
    present = np.zeros(largest + 1, np.bool_)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            present[labels[y, x]] = True
    present[0] = False
    return present


@jit
def _boxes(dense: NDArray[np.int32], n_cells: int) -> NDArray[np.int64]:
    """Return (n + 1, 4) half-open bounding boxes y0, x0, y1, x1 by label; that of the background is of no use."""
    height, width = dense.shape
    boxes = np.empty((n_cells + 1, 4), np.int64)
    boxes[:, :2] = max(height, width)
    boxes[:, 2:] = 0
    for y in range(height):
        for x in range(width):
            label = dense[y, x]
            if label:
                boxes[label, 0] = min(boxes[label, 0], y)
                boxes[label, 1] = min(boxes[label, 1], x)
                boxes[label, 2] = max(boxes[label, 2], y + 1)
                boxes[label, 3] = max(boxes[label, 3], x + 1)
    return boxes


@jit
def _centre(dense: NDArray[np.int32], label: int, y0: int, x0: int, y1: int, x1: int) -> tuple[int, int]:
    """Return the cell's pixel nearest to its rounded centre of mass; a tie goes to the first in raster order."""
    total_y, total_x, count = 0, 0, 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if dense[y, x] == label:
                total_y += y
                total_x += x
                count += 1
    # Halves go up, wherever the cell lies: to round them to even would depend on the window.
    mean_y, mean_x = (2 * total_y + count) // (2 * count), (2 * total_x + count) // (2 * count)
    best, best_y, best_x = -1, y0, x0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if dense[y, x] == label:
                distance = (y - mean_y) ** 2 + (x - mean_x) ** 2
                if best < 0 or distance < best:
                    best, best_y, best_x = distance, y, x
    return best_y, best_x


@jit
def _diffuse(
    dense: NDArray[np.int32], boxes: NDArray[np.int64], first: int, last: int, warmth: NDArray[np.float64]
) -> None:
    """Diffuse heat in each of the labels first to last - 1, within its bounding box; put it, framed, into `warmth`."""
    most = 0
    for label in range(first, last):
        most = max(most, (boxes[label, 2] - boxes[label, 0] + 2) * (boxes[label, 3] - boxes[label, 1] + 2))
    heats, row_sums, shares = np.empty(most), np.empty(most), np.empty(most)
    for label in range(first, last):
        y0, x0, y1, x1 = boxes[label]
        height, width = y1 - y0, x1 - x0
        # A pixel takes a ninth of the heat of itself and its neighbours, or, outside the cell, nothing.
        share = shares[: height * width].reshape(height, width)
        for y in range(height):
            for x in range(width):
                share[y, x] = 1 / 9 if dense[y0 + y, x0 + x] == label else 0.0
        heat = heats[: (height + 2) * (width + 2)].reshape(height + 2, width + 2)
        heat[:] = 0
        centre_y, centre_x = _centre(dense, label, y0, x0, y1, x1)
        row_sum = row_sums[: (height + 2) * width].reshape(height + 2, width)
        for _ in range(2 * (height + width + 2)):
            heat[centre_y - y0 + 1, centre_x - x0 + 1] += 1.0
            _spread(heat, row_sum, share)
        for y in range(height):
            for x in range(width):
                if share[y, x] > 0:
                    warmth[y0 + y + 1, x0 + x + 1] = heat[y + 1, x + 1]


@jit
def _spread(heat: NDArray[np.float64], row_sum: NDArray[np.float64], share: NDArray[np.float64]) -> None:
    """Let heat spread by one pixel, in place: sums along x, then along y, in loops without branches (SIMD)."""
    height, width = share.shape
    for y in range(height + 2):
        row, sums = heat[y], row_sum[y]
        for x in range(width):
            sums[x] = row[x] + row[x + 1] + row[x + 2]
    for y in range(height):
        above, here, below, part, row = row_sum[y], row_sum[y + 1], row_sum[y + 2], share[y], heat[y + 1]
        for x in range(width):
            row[x + 1] = (above[x] + here[x] + below[x]) * part[x]


@jit
def _directions(
    dense: NDArray[np.int32], warmth: NDArray[np.float64], first: int, last: int, flow: NDArray[np.float32]
) -> None:
    """Put the unit gradient of heat framed by zeros into the rows first to last - 1 of `flow`, zeros before.

    Across a border, the heat of the touching cell counts.
    """
    for y in range(first, last):
        for x in range(dense.shape[1]):
            if dense[y, x]:
                dy = warmth[y + 2, x + 1] - warmth[y, x + 1]
                dx = warmth[y + 1, x + 2] - warmth[y + 1, x]
                length = np.sqrt(dy * dy + dx * dx)
                if length > 1e-60:
                    flow[0, y, x] = dy / length
                    flow[1, y, x] = dx / length
