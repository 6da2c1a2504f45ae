"""Tiles as pictures: channels added up in their colours as JPEG, outlines of cells as transparent PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import cv2
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.shapes.borders import inner_borders

_JPEG_QUALITY = 85
_TINT_ALPHA = 110
_PNG_LEVEL = 1
_LEAST_SPAN = 1e-30

Colour = tuple[int, int, int]
"""R, G, B from 0 to 255."""


@dataclass(frozen=True)
class Shown:
    """How a channel is shown: its 0-based index, the values that are black and full light, and its colour."""

    channel: int
    lower: float
    upper: float
    colour: Colour


def draw_channels(planes: Sequence[NDArray[np.float32]], shown: Sequence[Shown]) -> bytes:
    """Return (y, x) float32 planes, each in the colour of its channel, added up as light, as a JPEG."""
    light = np.zeros((3, *planes[0].shape), np.float32)
    for plane, look in zip(planes, shown, strict=True):
        share = _share_of_light(plane, look.lower, look.upper)
        for target, part in zip(light, reversed(look.colour), strict=True):
            if part:
                target += share * np.float32(part)
    picture = cv2.merge([np.rint(np.minimum(each, 255)).astype(np.uint8) for each in light])
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(encoded.tobytes())


def _share_of_light(plane: NDArray[np.float32], lower: float, upper: float) -> NDArray[np.float32]:
    """Return 0 where a plane is at its lower limit, 1 at its upper; equal limits show what is above them."""
    # Limits come from requests, and may be beyond what single precision holds.
    most = float(np.finfo(np.float32).max)
    scale = np.float32(1 / min(max(upper - lower, _LEAST_SPAN), most))
    with np.errstate(over="ignore"):
        share = (plane - np.float32(min(max(lower, -most), most))) * scale
    return np.clip(share, 0, 1, out=share)


class Look(Enum):
    """How cells are marked: their pixels that touch another label, the lines between labels, or all their pixels.

    Lines are of the pixels whose right or lower neighbour has another label, so half a pixel up and left of the true
    border, and thin where cells touch. Levels of a label image hold the upper left pixel of four, which moves cells by
    nearly as much to the lower right: of them, lines are at the right place.
    """

    BORDERS = auto()
    LINES = auto()
    TINT = auto()


def draw_cells(labels: Labels, tile: Box, colour: Colour, look: Look) -> bytes:
    """Return where cells end, or where they are, in a colour on transparent ground, as a PNG.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background; a pixel more than the tile on each side, except where the image ends there.
    tile
        Where the tile lies in them.
    """
    marked = _MARK[look](labels)[tile.slices]
    picture = np.zeros((*tile.shape, 4), np.uint8)
    picture[marked] = (*reversed(colour), _TINT_ALPHA if look is Look.TINT else 255)
    _, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    return bytes(encoded.tobytes())


def _lines(labels: Labels) -> NDArray[np.bool_]:
    marked = np.zeros(labels.shape, bool)
    marked[:, :-1] = labels[:, 1:] != labels[:, :-1]
    marked[:-1] |= labels[1:] != labels[:-1]
    return marked


def _inside(labels: Labels) -> NDArray[np.bool_]:
    return np.asarray(labels > 0)


_MARK = {Look.BORDERS: inner_borders, Look.LINES: _lines, Look.TINT: _inside}
