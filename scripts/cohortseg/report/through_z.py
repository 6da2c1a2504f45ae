"""A few cells through the planes of a stack, as small multiples."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Image, Labels
from cohortseg.report.overlay import Picture, light_of
from cohortseg.shapes.borders import inner_borders

TILE_PX = 96
"""Side of one small picture."""

_GAP_PX = 4
_MARGIN_PX = 72
_HEAD_PX = 18
_PAPER, _INK, _BLANK = 255, (90, 90, 90), (235, 235, 235)
_ON_STAINS = (255, 110, 0), (150, 150, 150)
"""The outline of the cell, and of its neighbours."""
_ON_COLOURS = (0, 215, 0), (240, 240, 240)
_PLAIN_GROUND = 40


def draw_cell(
    image: Image | None,
    labels: Labels,
    cell_id: int,
    limits: Sequence[tuple[float, float]],
    *,
    is_rgb: bool,
    side_px: int = TILE_PX,
) -> Picture:
    """Return one small picture: a cell in one plane, its outline in orange, those of its neighbours in grey.

    On a colour image, such as stained tissue, its outline is green and those of its neighbours are white.

    Parameters
    ----------
    image
        (channel, y, x) of the square around the cell, any real dtype, R, G, B if `is_rgb`; None for a plain ground.
    labels
        (y, x) uint32 of the same square, 0 is background.
    cell_id
        Its label.
    limits
        For each channel the values shown as black and as full light.
    side_px
        Side of the picture.

    Returns
    -------
    ndarray
        (`side_px`, `side_px`, 3) uint8: R, G, B.
    """
    size = (side_px, side_px)
    if image is None:
        picture = np.full((*size, 3), _PLAIN_GROUND, np.uint8)
    else:
        light = np.clip(light_of(image, limits, is_rgb=is_rgb), 0, 1).astype(np.float32)
        shrinks = max(labels.shape) > side_px
        resized = cv2.resize(light, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        picture = np.rint(255 * resized).astype(np.uint8)
    # Labels have no half values: the nearest pixel's.
    rows, columns = ((2 * np.arange(side_px) + 1) * side // (2 * side_px) for side in labels.shape)
    near = labels[np.ix_(rows, columns)]
    border = inner_borders(near)
    own, other = _ON_COLOURS if is_rgb else _ON_STAINS
    picture[border] = other
    picture[border & (near == cell_id)] = own
    return picture


def draw_multiples(
    tiles: Sequence[Sequence[Picture | None]], rows: Sequence[str], columns: Sequence[str]
) -> NDArray[np.uint8]:
    """Return small pictures in a grid, named at the left and above; None leaves a place blank.

    Parameters
    ----------
    tiles
        By row and column: (`TILE_PX`, `TILE_PX`, 3) uint8.
    rows, columns
        Names, in ASCII.

    Returns
    -------
    ndarray
        (y, x, 3) uint8: R, G, B.
    """
    step = TILE_PX + _GAP_PX
    sheet = np.full((_HEAD_PX + step * len(rows), _MARGIN_PX + step * len(columns), 3), _PAPER, np.uint8)
    for i, name in enumerate(columns):
        _write(sheet, name, _MARGIN_PX + i * step, _HEAD_PX - 6)
    for row, (name, pictures) in enumerate(zip(rows, tiles, strict=True)):
        y = _HEAD_PX + row * step
        _write(sheet, name, 2, y + TILE_PX // 2)
        for column, picture in enumerate(pictures):
            x = _MARGIN_PX + column * step
            sheet[y : y + TILE_PX, x : x + TILE_PX] = _BLANK if picture is None else picture
    return sheet


def _write(sheet: NDArray[np.uint8], text: str, x: int, y: int) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, _INK, 1, cv2.LINE_AA)
