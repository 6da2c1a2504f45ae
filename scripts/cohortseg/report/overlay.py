"""Pictures: an image as the eye wants it, with its cells outlined on it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Image, Labels
from cohortseg.shapes.borders import inner_borders

Picture = NDArray[np.uint8]
"""(y, x, 3) uint8: R, G, B."""

_STAIN_COLOURS = np.array([[0.0, 0.9, 1.0], [1.0, 0.25, 0.85], [1.0, 0.85, 0.1], [0.35, 1.0, 0.35]])
"""Cyan, magenta, yellow, green: the first two are told apart in every common form of colour blindness."""

_ON_DARK = np.array([[255, 190, 0], [255, 110, 80], [90, 240, 90], [255, 130, 225], [70, 215, 255], [250, 245, 110]])
_ON_BRIGHT = np.array([[0, 110, 60], [200, 30, 20], [0, 70, 200], [120, 70, 0], [150, 0, 140], [0, 100, 120]])
_SMALLEST_OUTLINED_PX = 40
"""Cells of a smaller median area are tinted whole: outlines alone would cover them."""
_TINT = 0.45


def overlay(image: Image, labels: Labels, *, limits: Sequence[tuple[float, float]], is_rgb: bool) -> Picture:
    """Return a picture of an image with its cells outlined inside their borders.

    Cells of consecutive labels, which are mostly neighbours, get different colours, so that a cell cut in two and a
    pair left joined both show. Where cells are only a few pixels wide, as in the picture of a whole slide, they are
    tinted instead.

    Parameters
    ----------
    image
        (channel, y, x), any real dtype; R, G, B if `is_rgb`.
    labels
        (y, x) uint32 of the same height and width, 0 is background.
    limits
        For each channel the values shown as black and as full light.
    is_rgb
        Whether channels are colours already; else one channel is shown grey, several in colours of their own.

    Returns
    -------
    ndarray
        (y, x, 3) uint8: R, G, B.
    """
    light = light_of(image, limits, is_rgb=is_rgb)
    picture = np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)
    border = inner_borders(labels)
    palette = _ON_BRIGHT if border.any() and np.median(light[border]) > 0.6 else _ON_DARK
    colours = palette[labels % len(palette)].astype(np.uint8)
    if _are_tiny(labels):
        tinted = (1 - _TINT) * picture + _TINT * colours
        return np.where(labels[..., None] > 0, np.rint(tinted).astype(np.uint8), picture)
    return np.where(border[..., None], colours, picture)


def light_of(image: Image, limits: Sequence[tuple[float, float]], *, is_rgb: bool) -> NDArray[np.float32]:
    """Return an image as light (y, x, 3): R, G, B from 0 to 1, or more where stains add up; as for `overlay`."""
    return _rgb(image, limits) if is_rgb else _stains(image, limits)


def _are_tiny(labels: Labels) -> bool:
    """Return whether the median cell is too small to be outlined."""
    areas = np.unique(labels[labels > 0], return_counts=True)[1]
    return areas.size > 0 and float(np.median(areas)) < _SMALLEST_OUTLINED_PX


def _rgb(image: Image, limits: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    """Return R, G, B (y, x, 3) between 0 and 1."""
    return np.stack([_stretched(image[c], *limits[c]) for c in range(3)], axis=-1)


def _stains(image: Image, limits: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    """Return stains mixed as light (y, x, 3): one as grey, several in colours; faint light is lifted by a gamma."""
    light = [_stretched(channel, *limit) ** np.float32(0.75) for channel, limit in zip(image, limits, strict=True)]
    if len(light) == 1:
        return np.repeat(light[0][..., None], 3, axis=-1)
    mixed = np.zeros((*light[0].shape, 3), np.float32)
    for index, channel in enumerate(light):
        mixed += channel[..., None] * _STAIN_COLOURS[index % len(_STAIN_COLOURS)].astype(np.float32)
    return mixed


def _stretched(channel: NDArray[np.generic], low: float, high: float) -> NDArray[np.float32]:
    """Return a channel between 0 at `low` and 1 at `high`; all 0 where the limits are equal or not known."""
    values = np.nan_to_num(channel.astype(np.float32))
    if not high > low:
        return np.zeros_like(values)
    stretched: NDArray[np.float32] = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return stretched
