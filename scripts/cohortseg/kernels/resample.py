"""Images at another scale, any part of them at a time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field, Image
from cohortseg.errors import ImageError
from cohortseg.kernels._jit import jit


class Taps(NamedTuple):
    """For each target pixel along one axis: the first source pixel, how many there are, and their weights."""

    firsts: NDArray[np.int64]
    counts: NDArray[np.int64]
    weights: NDArray[np.float32]


def source_box(target: Box, target_shape: tuple[int, int], source_shape: tuple[int, int]) -> Box:
    """Return the source pixels that `resample` needs for one box of the target.

    Parameters
    ----------
    target
        A box of the target image, in its pixels.
    target_shape, source_shape
        (height, width) of the whole images.

    Raises
    ------
    ImageError
        If a shape is empty, or the box reaches out of the target image.
    """
    _check_box(target, target_shape)
    if min(source_shape) < 1:
        raise ImageError(f"a source image of {source_shape}", "expected at least one pixel", "Drop the empty image.")
    spans = []
    for axis in range(2):
        first, end = target[axis], target[axis + 2]
        if first == end:
            spans.append((0, 0))
            continue
        low, _ = _taps(first, target_shape[axis], source_shape[axis])
        _, high = _taps(end - 1, target_shape[axis], source_shape[axis])
        spans.append((low, high))
    return Box(spans[0][0], spans[1][0], spans[0][1], spans[1][1])


def resample(
    source: Image, held: Box, source_shape: tuple[int, int], target: Box, target_shape: tuple[int, int]
) -> Field:
    """Return one box of an image at another scale.

    Along each axis, a triangle filter as wide as the larger of a source and a target pixel: bilinear
    interpolation where the image grows, antialiased where it shrinks, as in Pillow's BILINEAR. Pixel centres are
    aligned, (i + 0.5) source / target - 0.5; at the edges of the image the weights within it are scaled to sum to 1.
    Each target pixel is computed from its place in the whole image alone, so any split into boxes gives the
    same bits. Between equal shapes this is a conversion to float32.

    Parameters
    ----------
    source
        (channel, y, x) of any real type: the pixels of `held`.
    held
        Where `source` lies in the source image: at least what `source_box` returns for the target.
    source_shape, target_shape
        (height, width) of the whole images.
    target
        What to compute, in pixels of the target image.

    Returns
    -------
    Field
        (channel, y, x) float32 over `target`.

    Raises
    ------
    ImageError
        If shapes and boxes do not fit together, or the type is not real.
    """
    needed = source_box(target, target_shape, source_shape)
    if source.ndim != 3 or source.shape[1:] != held.shape or source.dtype.kind not in "buif":
        raise ImageError(
            f"pixels of shape {source.shape} and type {source.dtype} for {held}",
            f"expected (channel, {held.height}, {held.width}) real numbers",
            "Read the pixels of exactly this box.",
        )
    if held.intersection(needed) != needed:
        raise ImageError(f"pixels of {held}", f"expected at least {needed}", "Ask source_box for what to read.")
    inner = needed.shifted(-held.y0, -held.x0)
    pixels = np.ascontiguousarray(source[:, inner.y0 : inner.y1, inner.x0 : inner.x1], np.float32)
    if source_shape == target_shape:
        return pixels.copy() if np.shares_memory(pixels, source) else pixels
    rows = weigh(target.y0, target.y1, target_shape[0], source_shape[0])
    columns = weigh(target.x0, target.x1, target_shape[1], source_shape[1])
    return _filter(pixels, needed.y0, needed.x0, rows, columns)


def weigh(begin: int, end: int, target_size: int, source_size: int) -> Taps:
    """Return what the target pixels from begin to end along one axis are made of."""
    return Taps(*_weigh(begin, end, target_size, source_size))


def _check_box(target: Box, target_shape: tuple[int, int]) -> None:
    """Raise ImageError unless the box lies in a target image that has pixels."""
    whole = Box(0, 0, *target_shape)
    if min(target_shape) < 1 or target.intersection(whole) != target:
        raise ImageError(
            f"{target} of a target image of {target_shape}", f"expected a part of {whole}", "Clip the box to the image."
        )


@jit
def _taps(target: int, target_size: int, source_size: int) -> tuple[int, int]:
    """Return the source pixels (first, end) of nonzero weight for one target pixel along one axis."""
    support = max(1.0, source_size / target_size)
    centre = (target + 0.5) * source_size / target_size - 0.5
    first = max(int(np.floor(centre - support)) + 1, 0)
    end = min(int(np.ceil(centre + support)), source_size)
    return first, end


@jit
def _weigh(
    begin: int, end: int, target_size: int, source_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the fields of `Taps` for the target pixels from begin to end."""
    support = max(1.0, source_size / target_size)
    firsts = np.empty(end - begin, np.int64)
    counts = np.empty(end - begin, np.int64)
    weights = np.zeros((end - begin, int(2 * support) + 2), np.float32)
    for target in range(begin, end):
        first, last = _taps(target, target_size, source_size)
        centre = (target + 0.5) * source_size / target_size - 0.5
        total = 0.0
        for source in range(first, last):
            total += 1.0 - abs(source - centre) / support
        for source in range(first, last):
            weights[target - begin, source - first] = (1.0 - abs(source - centre) / support) / total
        firsts[target - begin], counts[target - begin] = first, last - first
    return firsts, counts, weights


@jit
def _filter(pixels: Field, y0: int, x0: int, rows: Taps, columns: Taps) -> Field:
    """Filter down the columns, then along the rows; sums run in the order of the source pixels."""
    channels, _, width = pixels.shape
    filtered = np.empty((channels, rows.firsts.size, columns.firsts.size), np.float32)
    line = np.empty(width, np.float32)
    for channel in range(channels):
        for y in range(rows.firsts.size):
            line[:] = 0
            for tap in range(rows.counts[y]):
                weight = rows.weights[y, tap]
                row = pixels[channel, rows.firsts[y] - y0 + tap]
                for x in range(width):
                    line[x] += weight * row[x]
            for x in range(columns.firsts.size):
                total = np.float32(0)
                for tap in range(columns.counts[x]):
                    total += columns.weights[x, tap] * line[columns.firsts[x] - x0 + tap]
                filtered[channel, y, x] = total
    return filtered
