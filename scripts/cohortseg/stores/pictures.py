"""Pictures that OpenCV decodes: PNG, JPEG, BMP, WebP, JPEG 2000, PNM."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Image
from cohortseg.errors import ImageError
from cohortseg.stores.axes import check_dtype
from cohortseg.stores.source import ArraySource, ImageFacts, PageSelection

PICTURE_SIGNATURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"RIFF": "WebP",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"P5": "PNM",
    b"P6": "PNM",
}
"""First bytes of the formats that are known by them."""

MAX_PIXELS = 2**30
"""OpenCV's own limit."""


def open_picture(path: Path, selection: PageSelection) -> ArraySource:
    """Open a picture. These formats have no tiles: it is decoded whole, and its pixels stay in memory until closed.

    Opacity is dropped; three channels are R, G, B.

    Raises
    ------
    ImageError
        The file is damaged, of no known format, or a series, level or plane other than 0 was asked for.
    """
    if (selection.series, selection.level, selection.plane) != (0, 0, 0):
        raise ImageError(
            f"{path.name} has no series {selection.series}, level {selection.level}, plane {selection.plane}",
            "this kind of file holds one picture: series 0, level 0, plane 0",
            "Set series, level and plane to 0 in config/samples.tsv.",
        )
    data = np.fromfile(path, np.uint8)
    pixels = _decode(path, data)
    head = data[:12].tobytes()
    is_rgb = len(pixels) == 3
    facts = ImageFacts(
        path=path,
        shape=(pixels.shape[1], pixels.shape[2]),
        dtype=check_dtype(path.name, pixels.dtype),
        channels=("R", "G", "B") if is_rgb else ("0",),
        is_rgb=is_rgb,
        pixel_size_um=None,
        n_planes=1,
        format=next((name for start, name in PICTURE_SIGNATURES.items() if head.startswith(start)), "picture"),
    )
    return ArraySource(pixels, facts)


def _decode(path: Path, data: NDArray[np.uint8]) -> Image:
    try:
        # an empty buffer is refused by an exception, anything else that is damaged by None
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _unreadable(path, data, str(error.err)) from error
    if decoded is None:
        raise _unreadable(path, data, "it is damaged, or of a format that OpenCV does not know")
    if decoded.ndim == 2:
        return decoded[np.newaxis]
    return np.ascontiguousarray(np.moveaxis(decoded[..., 2::-1], -1, 0))


def _unreadable(path: Path, data: NDArray[np.uint8], cause: str) -> ImageError:
    return ImageError(
        f"{path.name} ({len(data)} bytes) cannot be read: {cause}",
        f"expected a complete PNG, JPEG, BMP, WebP, JPEG 2000 or PNM picture of at most {MAX_PIXELS} pixels",
        "Export the image again, as OME-TIFF if it is large.",
    )
