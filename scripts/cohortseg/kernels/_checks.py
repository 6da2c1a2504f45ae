"""Checks that the public entries of the kernels share: compiled loops do not check their indices."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError

# How far labels may run ahead of the pixels: some of a small window may have lost all theirs.
_MISSING_LABELS = 1 << 20


def check_labels(labels: Labels) -> Labels:
    """Return `labels` contiguous in memory.

    Raises
    ------
    ImageError
        Unless the array is two-dimensional uint32.
    """
    if labels.ndim != 2 or labels.dtype != np.uint32:
        raise ImageError(
            f"labels of shape {labels.shape} and type {labels.dtype}",
            "expected a (y, x) array of uint32, 0 for background",
            "Convert the array with labels.astype(numpy.uint32).",
        )
    return np.ascontiguousarray(labels)


def count_labels(labels: Labels) -> int:
    """Return the largest label of an image numbered from 1, some of which may be missing.

    Raises
    ------
    ImageError
        If a label exceeds the number of pixels by more than a million: a table indexed by label would not fit.
    """
    largest = int(labels.max(initial=np.uint32(0)))
    if largest > labels.size + _MISSING_LABELS:
        raise ImageError(
            f"the label {largest} in an image of {labels.size} pixels",
            "expected labels numbered from 1 without large gaps",
            "Renumber the labels first.",
        )
    return largest


def check_field(field: NDArray[np.float32], shape: tuple[int, int], name: str) -> NDArray[np.float32]:
    """Return a (2, y, x) field as contiguous float32.

    Raises
    ------
    ImageError
        Unless the field has two channels over `shape`.
    """
    if field.shape != (2, *shape):
        raise ImageError(
            f"{name} of shape {field.shape}",
            f"expected {(2, *shape)}: (y, x) components over the same pixels",
            "Give fields and masks of one window.",
        )
    return np.ascontiguousarray(field, np.float32)
