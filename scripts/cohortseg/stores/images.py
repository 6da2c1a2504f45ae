"""Opening any supported image by its content."""

import os
from collections.abc import Callable
from pathlib import Path

from cohortseg.errors import CohortsegError, ImageError, MissingFileError
from cohortseg.stores.czi import CZI_SIGNATURE, open_czi
from cohortseg.stores.lif import is_lif, open_lif
from cohortseg.stores.location import Location, RemoteLocation
from cohortseg.stores.nd2 import ND2_SIGNATURE, open_nd2
from cohortseg.stores.ngff import open_zarr
from cohortseg.stores.pictures import PICTURE_SIGNATURES, open_picture
from cohortseg.stores.slides import SLIDE_SUFFIXES, open_slide
from cohortseg.stores.source import (
    FIRST_PAGE,
    ArraySource,
    ImageFacts,
    ImageSource,
    PageSelection,
    agreed_pixel_size_um,
)
from cohortseg.stores.tiff import open_tiff

__all__ = [
    "FIRST_PAGE",
    "ArraySource",
    "ImageFacts",
    "ImageSource",
    "PageSelection",
    "open_image",
]

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little- and big-endian TIFF and BigTIFF."""

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".bif", ".qptiff", ".lsm", ".stk")

Opener = Callable[[Path, PageSelection], ImageSource]

OPENERS: dict[str, Opener] = {
    "cv2": open_picture,
    "slide": open_slide,
    "czi": open_czi,
    "nd2": open_nd2,
    "lif": open_lif,
}
"""Of files of this computer."""

REMOTE_OPENERS: dict[str, Callable[[Location, PageSelection], ImageSource]] = {"tiff": open_tiff, "zarr": open_zarr}
"""Of any place."""


def open_image(path: Location, page: PageSelection) -> ImageSource:
    """Open one plane of an image lazily; close it, or use it as a context manager.

    The content decides the format, not the suffix, unless `page.image_type` says it. TIFF, zarr, slides and CZI decode
    only the tiles, strips or chunks that a read touches, ND2 and LIF read the rows; other pictures, and planes of
    compressed ND2 files, are decoded whole. TIFF and zarr may lie behind a URL.

    Raises
    ------
    MissingFileError
        There is nothing at `path`.
    MissingExtraError
        The format or the URL needs an optional library that is not installed.
    ImageError
        The file may not be read, is empty, damaged, truncated, of an unknown format or dtype, has no such series,
        level or plane, or contradicts the pixel size that is given.
    """
    image_type = _remote_type(path, page) if isinstance(path, RemoteLocation) else _local_type(Path(path), page)
    try:
        opener = REMOTE_OPENERS.get(image_type)
        source = OPENERS[image_type](Path(str(path)), page) if opener is None else opener(path, page)
    except CohortsegError:
        raise
    except FileNotFoundError as error:
        raise _missing(path) from error
    try:
        source.pixel_size_um = agreed_pixel_size_um(path.name, source.pixel_size_um, page)
    except BaseException:
        source.close()
        raise
    return source


def _missing(path: Location) -> MissingFileError:
    return MissingFileError(
        f"{path} does not exist", "expected an image file or a zarr folder", "Check image in config/samples.tsv."
    )


def _remote_type(path: RemoteLocation, page: PageSelection) -> str:
    by_name = "zarr" if ".zarr" in str(path).lower() else "tiff" if path.suffix.lower() in TIFF_SUFFIXES else None
    image_type = page.image_type or by_name
    if image_type not in REMOTE_OPENERS:
        raise ImageError(
            f"{path} cannot be read over the network" + (f" as {image_type}" if image_type else ""),
            f"expected a name with .zarr in it, or that ends in one of {', '.join(TIFF_SUFFIXES)}",
            f"Set image_type to {' or '.join(REMOTE_OPENERS)}, or copy the image to this computer.",
        )
    return image_type


def _local_type(path: Path, page: PageSelection) -> str:
    if not path.exists():
        raise _missing(path)
    if not os.access(path, os.R_OK):
        raise ImageError(f"{path} may not be read", "expected permission to read it", "Change its permissions.")
    image_type = _type_by_content(path) if page.image_type is None else page.image_type
    known = (*REMOTE_OPENERS, *OPENERS)
    if image_type not in known:
        raise ImageError(
            f"image_type {image_type!r} is unknown",
            f"expected {', '.join(known)} or none",
            "Set image_type in config/samples.tsv.",
        )
    if path.is_dir() != (image_type == "zarr"):
        raise ImageError(
            f"{path.name} is a {'folder' if path.is_dir() else 'file'}",
            f"expected a {'folder' if image_type == 'zarr' else 'file'} for image_type {image_type}",
            "Check image and image_type in config/samples.tsv.",
        )
    return image_type


def _type_by_content(path: Path) -> str:
    if path.is_dir():
        return "zarr"
    with path.open("rb") as file:
        start = file.read(len(CZI_SIGNATURE))
    if not start:
        raise ImageError(f"{path.name} is empty (0 bytes)", "expected an image", "Copy or export the image again.")
    if start.startswith(TIFF_SIGNATURES):
        return "tiff"
    if start.startswith(CZI_SIGNATURE):
        return "czi"
    if start.startswith(ND2_SIGNATURE) or path.suffix.lower() == ".nd2":
        return "nd2"  # the first kind of ND2 looks like JPEG 2000, of which pictures would show a part
    if is_lif(start):
        return "lif"
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return "slide"
    if path.suffix.lower() in TIFF_SUFFIXES and not start.startswith(tuple(PICTURE_SIGNATURES)):
        raise ImageError(
            f"{path.name} is not a TIFF file: it starts with {start[:8]!r}",
            "expected a TIFF signature (II* or MM*)",
            "Check that the image was copied whole and has the right name.",
        )
    return "cv2"
