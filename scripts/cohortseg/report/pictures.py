"""Pictures made small enough that a report of any cohort opens in a browser."""

import base64
from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import numpy as np

ReadPng = Callable[[], bytes]
"""Gives the bytes of a PNG file; pictures are read one at a time, since those of a cohort are not held in memory."""

# Thin coloured outlines want their colour at every pixel; of very many pictures it is halved.
_FINE = (80, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_PLAIN = (75, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
_NO_ROOM = "left out to keep the report small"
# A cohort of up to 200 images is to stay below 20 MB, one of 2,000 below 40 MB.
_SMALL_COHORT, _LARGE_COHORT = 200, 2000
_SMALL_BUDGET, _LARGE_BUDGET = 16_500_000, 31_000_000
_SIDES = ((60, 512, 128), (200, 384, 96), (600, 256, 80))
_SIDES_BEYOND = (160, 64)


class Sizes(NamedTuple):
    """How large pictures may be, in px, and together, in bytes as base64, and whether they are coded finely."""

    preview_px: int
    crop_px: int
    budget_bytes: int
    fine: bool


class Embedded(NamedTuple):
    """A picture as it goes into the page: its data URI, or None and why there is none."""

    uri: str | None
    why_not: str


def sizes_for(n_images: int) -> Sizes:
    """Return how large the pictures of a cohort may be: the more images, the smaller each."""
    preview_px, crop_px = next((sides for most, *sides in _SIDES if n_images <= most), list(_SIDES_BEYOND))
    grown = (n_images - _SMALL_COHORT) / (_LARGE_COHORT - _SMALL_COHORT)
    budget = _SMALL_BUDGET + (_LARGE_BUDGET - _SMALL_BUDGET) * min(max(grown, 0), 1)
    return Sizes(preview_px, crop_px, int(budget), n_images <= _SIDES[-1][0])


def embed(
    pngs: Iterable[ReadPng | None],
    *,
    budget_bytes: int,
    height_px: int,
    width_px: int | None = None,
    fine: bool = True,
) -> list[Embedded]:
    """Return pictures as JPEG data URIs, in their order, until one does not fit into what is left of `budget_bytes`.

    Those after it are not even read; give those that matter first. Each is shrunk to at most `height_px`, and
    `width_px` where that is given; `fine` keeps outlines sharper and takes half as much again.
    """
    left = budget_bytes
    embedded = []
    for png in pngs:
        picture = _embed_one(png, height_px, width_px, fine) if png is None or left > 0 else Embedded(None, _NO_ROOM)
        size = len(picture.uri or "")
        if size > left:
            picture, size = Embedded(None, _NO_ROOM), left
        left -= size
        embedded.append(picture)
    return embedded


def spent(pictures: Iterable[Embedded]) -> int:
    """Return the bytes that pictures take in the page."""
    return sum(len(picture.uri or "") for picture in pictures)


def _embed_one(read: ReadPng | None, height_px: int, width_px: int | None, fine: bool) -> Embedded:
    """Return one picture, or why there is none."""
    if read is None:
        return Embedded(None, "no picture was made")
    png = read()
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) if png else None
    if pixels is None:
        return Embedded(None, "the picture's file is damaged")
    height, width = pixels.shape[:2]
    scale = min(height_px / height, 1.0 if width_px is None else width_px / width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    quality, sampling = _FINE if fine else _PLAIN
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    jpeg = cv2.imencode(".jpg", pixels, how)[1]
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")
    return Embedded(uri, "")
