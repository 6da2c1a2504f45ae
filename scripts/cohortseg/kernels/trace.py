"""Rings along pixel edges around the pieces of labels."""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels._checks import check_labels
from cohortseg.kernels._jit import jit
from cohortseg.kernels._pieces import padded_pieces

T = TypeVar("T", np.int32, np.uint32)


class Rings(NamedTuple):
    """Closed rings, ragged: ring r has the vertices ``xy[ring_offsets[r]:ring_offsets[r + 1]]``.

    Rings are sorted by piece; within a piece the outer ring comes first, then its holes.
    """

    xy: NDArray[np.int32]
    """(N, 2) int32, (x, y) of corners on the pixel grid; the last vertex of a ring repeats its first."""
    ring_offsets: NDArray[np.int64]
    """(rings + 1,) int64: the first vertex of each ring."""
    ring_label: NDArray[np.uint32]
    """(rings,) uint32: the label that the ring bounds."""
    ring_piece: NDArray[np.int64]
    """(rings,) int64, from 0: the 4-connected piece that the ring bounds, in raster order of first pixels."""


def trace_rings(labels: Labels) -> Rings:
    """Trace the boundaries of every 4-connected piece of every label along pixel edges.

    Only corners are kept. In the numbers as they are (y down), outer rings have a positive shoelace area and holes
    a negative one: shapely calls outer rings counter-clockwise. Holes are 4-connected, so that every ring is simple
    and rings of one piece touch at single points at most: each piece is a valid polygon. The pixels of the frame
    border on background.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background; any other values.

    Returns
    -------
    Rings
        Of all pieces, in full; no rings for an image without labels.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array.
    """
    pieces, piece_label = padded_pieces(check_labels(labels))
    xy, offsets, piece = trace_kernel(pieces)
    order = np.argsort(piece, kind="stable")
    xy, offsets = _reorder(xy, offsets, order)
    ring_piece = piece[order].astype(np.int64) - 1
    return Rings(xy, offsets, piece_label[ring_piece], ring_piece)


@jit
def trace_kernel(
    values: NDArray[T],
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[T]]:
    """Trace the rings of every nonzero value of an array framed by zeros, in raster order of their first edges.

    Edges are directed with their value on the right as seen (y down). Where two pixels of one value meet at a
    corner only, the ring crosses from one to the other: regions are 8-connected, holes 4-connected. An array of
    4-connected pieces has no such corner but between pixels of a piece joined elsewhere.

    Returns
    -------
    xy, offsets, value
        Corners (N, 2), ring offsets and the value that each ring bounds. A ring starts at a corner.
    """
    rows, stride = values.shape
    flat = values.ravel()
    n_corners, n_starts = _count_corners(flat, rows, stride)
    # Every ring repeats its first vertex and starts at a corner above a left-most top edge.
    xy = np.empty((n_corners + n_starts, 2), np.int32)
    offsets = np.zeros(n_starts + 1, np.int64)
    ring_value = np.empty(n_starts, values.dtype)
    traced = np.zeros(flat.size, np.bool_)
    n_rings, end = 0, 0
    for row in range(1, rows - 1):
        for start in range(row * stride + 1, (row + 1) * stride - 1):
            if flat[start] == 0 or flat[start - stride] == flat[start] or traced[start]:
                continue
            end = _trace_ring(flat, stride, start, traced, xy, end)
            ring_value[n_rings] = flat[start]
            n_rings += 1
            offsets[n_rings] = end
    return xy[:end].copy(), offsets[: n_rings + 1].copy(), ring_value[:n_rings].copy()


@jit
def _count_corners(flat: NDArray[T], rows: int, stride: int) -> tuple[int, int]:
    """Count the corners of all values, and the places where a ring may start."""
    corners, starts = 0, 0
    for row in range(1, rows):
        for at in range(row * stride + 1, (row + 1) * stride):
            nw, ne, sw, se = flat[at - stride - 1], flat[at - stride], flat[at - 1], flat[at]
            if nw == ne == sw == se:
                continue
            # A pixel has a corner here where its two neighbours agree in being its own value or not.
            corners += nw != 0 and (ne == nw) == (sw == nw) and (se != nw or ne != nw)
            corners += ne != 0 and (nw == ne) == (se == ne) and (sw != ne or nw != ne)
            corners += sw != 0 and (nw == sw) == (se == sw) and (ne != sw or nw != sw)
            corners += se != 0 and (ne == se) == (sw == se) and (nw != se or ne != se)
            starts += se != 0 and ne != se and (sw != se or nw == se)
    return corners, starts


@jit
def _trace_ring(
    flat: NDArray[T], stride: int, start: int, traced: NDArray[np.bool_], xy: NDArray[np.int32], end: int
) -> int:
    """Write the closed ring that begins with the top edge of pixel `start`; return the end of its vertices.

    The walk stands beside a pixel of the value, heading right, down, left or up along its top, right, bottom
    or left edge. `ahead` leads to the next pixel in that direction, `outward` across the edge.
    """
    value = flat[start]
    at, heading = start, 0
    ahead, outward = 1, -stride
    y, x = start // stride - 1, start % stride - 1
    xy[end, 0], xy[end, 1] = x, y
    end += 1
    while heading != 0 or not traced[at]:
        if heading == 0:
            traced[at] = True
        if flat[at + ahead + outward] == value:
            turn = 3
        elif flat[at + ahead] == value:
            turn = 0
        else:
            turn = 1
        if heading == 0:
            x += 1
        elif heading == 1:
            y += 1
        elif heading == 2:
            x -= 1
        else:
            y -= 1
        if turn == 0:
            at += ahead
        else:
            xy[end, 0], xy[end, 1] = x, y
            end += 1
            if turn == 3:
                at += ahead + outward
                ahead, outward = outward, -ahead
            else:
                ahead, outward = -outward, ahead
            heading = (heading + turn) % 4
    return end


@jit
def _reorder(
    xy: NDArray[np.int32], offsets: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Put ragged rings into another order."""
    moved = np.empty_like(xy)
    moved_offsets = np.zeros_like(offsets)
    end = 0
    for place in range(order.size):
        for vertex in range(offsets[order[place]], offsets[order[place] + 1]):
            moved[end, 0], moved[end, 1] = xy[vertex, 0], xy[vertex, 1]
            end += 1
        moved_offsets[place + 1] = end
    return moved, moved_offsets
