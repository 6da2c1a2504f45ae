"""Arrays that numpy saved, opened in place."""

from pathlib import Path

import numpy as np

from cohortseg.errors import ImageError
from cohortseg.stores.axes import check_dtype
from cohortseg.stores.source import ArraySource, ImageFacts


def open_npy(path: Path) -> ArraySource:
    """Open a plane in a .npy file; only what is read is loaded.

    Files with pickled Python objects, as Cellpose's _seg.npy is, are refused: loading one may run any code.

    Raises
    ------
    ImageError
        The file is damaged, holds pickled objects, or more than one plane.
    """
    with path.open("rb") as file:
        is_npy = file.read(6) == b"\x93NUMPY"
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False) if is_npy else None
    except (ValueError, OSError, EOFError) as error:
        if "object" in str(error).lower():
            raise ImageError(
                f"{path.name} holds pickled Python objects, as Cellpose's _seg.npy does",
                "a plain array was expected; loading pickled objects may run any code",
                "Save its masks as TIFF or PNG from Cellpose, or in Python, if you trust the file: "
                "numpy.save('masks.npy', numpy.load(FILE, allow_pickle=True).item()['masks']).",
            ) from error
        raise _unreadable(path, str(error)) from error
    if pixels is None:
        raise _unreadable(path, "it does not start as one")
    if pixels.ndim != 2 or pixels.size == 0:
        raise ImageError(
            f"{path.name} has shape {pixels.shape}", "expected one plane, (y, x)", "Save each plane as a file."
        )
    facts = ImageFacts(
        path=path,
        shape=(pixels.shape[0], pixels.shape[1]),
        dtype=check_dtype(path.name, pixels.dtype),
        channels=("0",),
        is_rgb=False,
        pixel_size_um=None,
        n_planes=1,
        format="NPY",
    )
    return ArraySource(pixels[np.newaxis], facts)


def _unreadable(path: Path, cause: str) -> ImageError:
    return ImageError(f"{path.name} cannot be read: {cause}", "expected a complete .npy file", "Save it again.")
