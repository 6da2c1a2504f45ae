"""Opening any supported image by its content."""

import os
from pathlib import Path

from cohortseg.errors import ImageError, MissingFileError
from cohortseg.stores.ngff import open_zarr
from cohortseg.stores.pictures import PICTURE_SIGNATURES, open_picture
from cohortseg.stores.source import (
    FIRST_PAGE,
    ArraySource,
    ImageFacts,
    ImageSource,
    PageSelection,
    channel_indices,
)
from cohortseg.stores.tiff import open_tiff

__all__ = [
    "FIRST_PAGE",
    "ArraySource",
    "ImageFacts",
    "ImageSource",
    "PageSelection",
    "channel_indices",
    "open_image",
]

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little- and big-endian TIFF and BigTIFF."""

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".bif", ".qptiff", ".lsm", ".stk")

OPENERS = {"tiff": open_tiff, "zarr": open_zarr, "cv2": open_picture}


def open_image(path: Path, page: PageSelection) -> ImageSource:
    """Open one plane of an image lazily; close it, or use it as a context manager.

    The content decides the format, not the suffix, unless `page.image_type` says it. TIFF and zarr decode only the
    tiles, strips or chunks that a read touches; other pictures are decoded whole.

    Raises
    ------
    MissingFileError
        There is nothing at `path`.
    ImageError
        The file may not be read, is empty, damaged, truncated, of an unknown format or dtype, or has no such series,
        level or plane.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(
            f"{path} does not exist", "expected an image file or a zarr folder", "Check image in config/samples.tsv."
        )
    if not os.access(path, os.R_OK):
        raise ImageError(f"{path} may not be read", "expected permission to read it", "Change its permissions.")
    image_type = _image_type(path) if page.image_type is None else page.image_type
    if image_type not in OPENERS:
        raise ImageError(
            f"image_type {image_type!r} is unknown",
            f"expected {', '.join(OPENERS)} or none",
            "Set image_type in config/samples.tsv.",
        )
    if path.is_dir() != (image_type == "zarr"):
        raise ImageError(
            f"{path.name} is a {'folder' if path.is_dir() else 'file'}",
            f"expected a {'folder' if image_type == 'zarr' else 'file'} for image_type {image_type}",
            "Check image and image_type in config/samples.tsv.",
        )
    return OPENERS[image_type](path, page)


def _image_type(path: Path) -> str:
    if path.is_dir():
        return "zarr"
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise ImageError(f"{path.name} is empty (0 bytes)", "expected an image", "Copy or export the image again.")
    if start.startswith(TIFF_SIGNATURES):
        return "tiff"
    if path.suffix.lower() in TIFF_SUFFIXES and not start.startswith(tuple(PICTURE_SIGNATURES)):
        raise ImageError(
            f"{path.name} is not a TIFF file: it starts with {start!r}",
            "expected a TIFF signature (II* or MM*)",
            "Check that the image was copied whole and has the right name.",
        )
    return "cv2"
