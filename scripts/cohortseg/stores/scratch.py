"""Arrays kept on disk for as long as a process needs them."""

import logging
import os
import shutil
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOGGER = logging.getLogger("cohortseg")

# What a scratch file may take of the disk's free space: the results need some, and so do other jobs.
_SHARE_OF_FREE = 0.25
# Other jobs, which began when there was more, write to the same disk: below this, nothing more is kept.
_RESERVE_BYTES = 2**30


class Scratch:
    """Arrays in a file without a name, which the system removes with the process, however that ends.

    Several threads may read at once; one at a time may write, also while others read.

    Parameters
    ----------
    folder
        Where the file lies: a disk, not memory that looks like one.
    limit_bytes
        What it may take, at most a quarter of what is free there. Arrays beyond that are not kept.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by `close`
        self._limit_bytes = min(limit_bytes, int(_SHARE_OF_FREE * shutil.disk_usage(folder).free))
        self._end = 0
        self._places: dict[Hashable, tuple[int, np.dtype[Any], tuple[int, ...]]] = {}

    def write(self, key: Hashable, array: NDArray[Any]) -> bool:
        """Keep an array, once, if there is room; return whether it is kept.

        A disk that is full after all ends the keeping, not the process.
        """
        if key in self._places:
            return True
        if self._end + array.nbytes > self._limit_bytes:
            return False
        if shutil.disk_usage(self._folder).free < _RESERVE_BYTES:
            self._limit_bytes = self._end
            _LOGGER.info("Decoded tiles are no longer kept on disk, and decoded again: %s is nearly full", self._folder)
            return False
        content, done = _bytes_of(np.ascontiguousarray(array)), 0
        try:
            while done < len(content):
                done += os.pwrite(self._file.fileno(), content[done:], self._end + done)
        except OSError as error:
            self._limit_bytes = self._end
            _LOGGER.info("Decoded tiles are no longer kept on disk, and decoded again: %s", error)
            return False
        self._places[key] = self._end, array.dtype, array.shape
        self._end += len(content)
        return True

    def read(self, key: Hashable) -> NDArray[Any] | None:
        """Return an array that was kept, else None.

        Raises
        ------
        OSError
            If the disk does not give back what it took.
        """
        place = self._places.get(key)
        if place is None:
            return None
        offset, dtype, shape = place
        array: NDArray[Any] = np.empty(shape, dtype)
        content, done = _bytes_of(array), 0
        while done < len(content):
            n_bytes = os.preadv(self._file.fileno(), [content[done:]], offset + done)
            if not n_bytes:
                raise OSError(f"a scratch file ends at byte {offset + done}, {len(content) - done} too early")
            done += n_bytes
        return array

    def close(self) -> None:
        """Remove the file."""
        self._places.clear()
        self._file.close()


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the bytes of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data
