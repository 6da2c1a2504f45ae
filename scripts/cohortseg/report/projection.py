"""The 3D cells of a stack in one picture, as seen from its first plane."""

from collections.abc import Iterable

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.report.overlay import Picture
from cohortseg.shapes.borders import inner_borders

_SMALLEST_SIDE_PX = 700
_PAPER, _INK, _GROUND, _BORDER = 255, (60, 60, 60), 20, 0
# Of the scale's foot, in parts of its height; the picture is mostly seen at half its size.
_FOOT_SHARE, _LEAST_FOOT_PX = 0.05, 24
_COLOURS = "viridis"


def project(planes: Iterable[Labels]) -> Labels:
    """Return at each pixel the label of the first plane that has one there, 0 where none has.

    Parameters
    ----------
    planes
        (y, x) uint32 each, of one shape, 0 is background; at least one.
    """
    seen: Labels | None = None
    for labels in planes:
        seen = labels.copy() if seen is None else np.where(seen == 0, labels, seen)
    if seen is None:
        raise ValueError("a projection needs at least one plane")
    return seen


def draw_projection(seen: Labels, middles: NDArray[np.float64], first: int, last: int) -> Picture:
    """Return a picture of projected labels, each in the colour of its middle plane, with borders and a scale.

    Parameters
    ----------
    seen
        (y, x) uint32, as `project` returns it.
    middles
        By label: the z_index of the middle of each 3D cell; labels beyond it or NaN are not drawn.
    first, last
        The z_index at the ends of the scale.

    Returns
    -------
    ndarray
        (y, x, 3) uint8: R, G, B; small stacks are shown in whole multiples of their size.
    """
    zoom = max(1, -(-_SMALLEST_SIDE_PX // max(seen.shape)))
    labels = np.repeat(np.repeat(seen, zoom, axis=0), zoom, axis=1)
    middle = np.append(middles, np.nan)[np.minimum(labels, len(middles))]
    drawn = (labels > 0) & np.isfinite(middle)
    place = np.nan_to_num((middle - first) / max(last - first, 1))
    picture = np.where(drawn[..., None], _coloured(place), np.uint8(_GROUND))
    picture[inner_borders(labels)] = _BORDER
    return np.concatenate([picture, _foot(picture.shape[1], first, last)])


def _coloured(place: NDArray[np.float64]) -> Picture:
    """Return the colours of places between 0 and 1."""
    colours: Picture = mpl.colormaps[_COLOURS](np.clip(place, 0, 1), bytes=True)[..., :3]
    return colours


def _foot(width: int, first: int, last: int) -> Picture:
    """Return the scale of colours with what its ends are."""
    height = max(_LEAST_FOOT_PX, round(_FOOT_SHARE * width))
    foot = np.full((height, width, 3), _PAPER, np.uint8)
    size, margin, base = height / 50, height // 4, round(0.66 * height)
    head = f"z {first}"
    start = 2 * margin + cv2.getTextSize(head, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0]
    end = min(start + 6 * height, width)
    foot[height // 3 : base, start:end] = _coloured(np.linspace(0, 1, max(end - start, 0)))
    for text, x in ((head, margin), (f"{last}", end + margin)):
        cv2.putText(foot, text, (x, base), cv2.FONT_HERSHEY_SIMPLEX, size, _INK, max(1, height // 40), cv2.LINE_AA)
    return foot
