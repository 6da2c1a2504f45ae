"""The levels of an image's pyramid, each opened when it is first needed."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from cohortseg.errors import ImageError
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.source import ImageSource, PageSelection

_MEMORY_BYTES = 4 * 2**20
"""What each level keeps decoded in memory, at least: there may be ten of each of several images."""


class ImageLevels:
    """The levels of an image from a selected one on, which counts as full resolution; several threads may ask at once.

    Parameters
    ----------
    path
        The image.
    page
        Its plane; `page.level` is the largest level that is shown.
    scratch
        Folder for decoded tiles, so that memory holds few of each level; see `ImageSource.use_scratch`.
    scratch_bytes
        What each level may take there.

    Raises
    ------
    MissingFileError, MissingExtraError, ImageError
        As of `open_image`, of the largest level; also where the path is neither a file nor a folder.
    """

    def __init__(self, path: Location, page: PageSelection, scratch: Path, scratch_bytes: int) -> None:
        if isinstance(path, Path) and path.exists() and not (path.is_file() or path.is_dir()):
            raise ImageError(f"{path} is a device or pipe", "expected an image", "Correct image in metadata.json.")
        self._path, self._page = path, page
        self._scratch = scratch, scratch_bytes
        self._lock = Lock()
        self._opened: dict[int, ImageSource] = {}
        self._shapes: list[tuple[int, int]] = []
        self.largest = self._open(0)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(y, x) of each level, from the largest on; each is smaller than the one before."""
        with self._lock:
            if not self._shapes:
                self._shapes = list(self._find_shapes())
            return self._shapes

    def level(self, index: int) -> ImageSource:
        """Return a level, 0 the largest, opening it where that has not happened yet."""
        with self._lock:
            return self._open(index)

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            for source in self._opened.values():
                source.close()
            self._opened.clear()

    def _find_shapes(self) -> Iterator[tuple[int, int]]:
        """Yield the shapes of levels that are of the same image; labels and overviews among them are of another."""
        yield self.largest.shape
        before = self.largest.shape
        for index in range(1, self.largest.n_levels - self._page.level):
            with suppress(ImageError):  # a damaged level is none: the image is shown from the others
                source = self._open(index)
                is_alike = len(source.channels) == len(self.largest.channels) and source.dtype == self.largest.dtype
                ratios = [n / m for n, m in zip(self.largest.shape, source.shape, strict=True)]
                if is_alike and source.shape < before and max(ratios) < 1.1 * min(ratios):
                    before = source.shape
                    yield source.shape
                    continue
            return

    def _open(self, index: int) -> ImageSource:
        if index not in self._opened:
            # The size of a pixel that the settings give is that of the selected level.
            page = self._page if index == 0 else replace(self._page, pixel_size_um=None)
            source = open_image(self._path, replace(page, level=self._page.level + index))
            source.use_scratch(*self._scratch, _MEMORY_BYTES)
            self._opened[index] = source
        return self._opened[index]
