"""Pictures made small enough that a report of any cohort opens in a browser."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

BUDGET_BYTES = 24_000_000
"""What all pictures of a report may take together; the others stay beside it as files."""

_QUALITY = 82
_LONGER_SIDES = ((60, 512), (200, 384))
_LONGER_SIDE_BEYOND = 288


class Embedded(NamedTuple):
    """A picture as it goes into the page: its data URI, or None and why there is none."""

    uri: str | None
    why_not: str


def embed(pngs: Sequence[bytes | None], *, budget_bytes: int, side_px: int | None = None) -> list[Embedded]:
    """Return pictures as JPEG data URIs, in their order, until `budget_bytes` are spent.

    The more pictures, the smaller each: at most 512 px on the longer side for up to 60, 384 px for up to 200, 288 px
    beyond; or `side_px`, where given. Give those that matter first.
    """
    number = sum(png is not None for png in pngs)
    side_px = side_px or next((side for most, side in _LONGER_SIDES if number <= most), _LONGER_SIDE_BEYOND)
    left = budget_bytes
    embedded = []
    for png in pngs:
        picture = _embed_one(png, side_px, left)
        left -= len(picture.uri or "")
        embedded.append(picture)
    return embedded


def _embed_one(png: bytes | None, side_px: int, left_bytes: int) -> Embedded:
    """Return one picture, or why there is none."""
    if png is None:
        return Embedded(None, "no picture was made")
    if left_bytes <= 0:
        return Embedded(None, "left out to keep the report small")
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) if png else None
    if pixels is None:
        return Embedded(None, "the picture's file is damaged")
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")
    if len(uri) > left_bytes:
        return Embedded(None, "left out to keep the report small")
    return Embedded(uri, "")
