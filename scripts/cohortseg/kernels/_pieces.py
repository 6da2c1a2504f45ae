"""Pieces of labels: their 4-connected components, numbered in raster order."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels._jit import jit


@jit
def padded_pieces(labels: Labels) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Number the 4-connected pieces of all labels in the raster order of their first pixels.

    Union-find over pixels in two passes; the smaller provisional number is always the root, so that roots
    keep the raster order.

    Returns
    -------
    pieces
        (h + 2, w + 2) int32 with a frame of background: 0 is background, k + 1 is piece k.
    piece_label
        (n,) uint32: the label that piece k is a part of.
    """
    height, width = labels.shape
    pieces = np.zeros((height + 2, width + 2), np.int32)
    provisional = 0
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            left = x > 0 and labels[y, x - 1] == label
            above = y > 0 and labels[y - 1, x] == label
            provisional += label != 0 and not left and not above
    parent = np.zeros(provisional + 1, np.int32)
    first_label = np.zeros(provisional + 1, np.uint32)
    provisional = 0
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label == 0:
                continue
            left = x > 0 and labels[y, x - 1] == label
            above = y > 0 and labels[y - 1, x] == label
            if left:
                pieces[y + 1, x + 1] = pieces[y + 1, x]
                if above and pieces[y, x + 1] != pieces[y + 1, x]:
                    _join(parent, pieces[y, x + 1], pieces[y + 1, x])
            elif above:
                pieces[y + 1, x + 1] = pieces[y, x + 1]
            else:
                provisional += 1
                parent[provisional] = provisional
                first_label[provisional] = label
                pieces[y + 1, x + 1] = provisional
    piece_label = _number_roots(parent, first_label)
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            pieces[y, x] = parent[pieces[y, x]]
    return pieces, piece_label


@jit
def _join(parent: NDArray[np.int32], one: int, other: int) -> None:
    """Put two provisional numbers into one set, rooted at the smaller."""
    while parent[one] != one:
        parent[one] = parent[parent[one]]
        one = parent[one]
    while parent[other] != other:
        parent[other] = parent[parent[other]]
        other = parent[other]
    if one < other:
        parent[other] = one
    else:
        parent[one] = other


@jit
def _number_roots(parent: NDArray[np.int32], first_label: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Turn `parent` in place into the map from provisional to final numbers; return each piece's label."""
    n_pieces = 0
    for number in range(1, parent.size):
        if parent[number] == number:
            first_label[n_pieces] = first_label[number]
            n_pieces += 1
            parent[number] = n_pieces
        else:
            # The parent is smaller, so it holds its final number already.
            parent[number] = parent[parent[number]]
    return first_label[:n_pieces].copy()
