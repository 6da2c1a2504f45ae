"""Decoded tiles and strips, kept for the next box that touches them: in memory, and on disk for later passes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohortseg.stores.scratch import Scratch

WITH_SCRATCH_BYTES = 32 * 2**20
"""Segments kept in memory where a scratch file holds the others: enough for a few boxes."""


class SegmentCache:
    """Least-recently-used store of decoded segments; several threads may use it at once.

    A segment that several threads want at the same time is decoded by one of them; the others wait for it. The
    newest segment is always kept, whatever its size: where a file is one huge compressed strip, decoding it for
    every box would cost far more than its memory, which decoding needs anyway.

    Parameters
    ----------
    budget_bytes
        Segments beyond this sum are forgotten, the least recently used first, or go to the scratch file.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._kept_bytes = 0
        self._decoded_bytes = 0
        self._coming: dict[Hashable, Future[NDArray[Any]]] = {}
        self._scratch: Scratch | None = None

    @property
    def decoded_bytes(self) -> int:
        """Size of all that was decoded so far."""
        return self._decoded_bytes

    def use_scratch(self, folder: Path, limit_bytes: int, memory_bytes: int | None = None) -> None:
        """Keep what no longer fits the memory in a file without a name in `folder`, and less of it in memory.

        In memory are at most `memory_bytes`, None for WITH_SCRATCH_BYTES, or what `make_room` was told.
        """
        with self._lock:
            self._scratch = Scratch(folder, limit_bytes)
            self._budget_bytes = min(self._budget_bytes, WITH_SCRATCH_BYTES if memory_bytes is None else memory_bytes)

    def make_room(self, box_bytes: int, band_bytes: int, limit_bytes: int) -> None:
        """Raise the budget to what the next box needs, too, but not beyond a limit.

        That is what a row of boxes touches, so that the next row finds there what both need; with a scratch file, which
        gives that back for little, two boxes.
        """
        wanted = band_bytes if self._scratch is None else 2 * box_bytes
        with self._lock:
            self._budget_bytes = max(self._budget_bytes, min(wanted, limit_bytes))

    def get(self, key: Hashable, decode: Callable[[], NDArray[Any]]) -> NDArray[np.generic]:
        """Return the segment `key`, calling `decode` where it is not kept; its errors reach every waiting thread."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            coming = self._coming.get(key)
            mine = coming is None
            if coming is None:
                coming = self._coming[key] = Future()
        if not mine:
            return coming.result()
        try:
            segment = None if self._scratch is None else self._scratch.read(key)
            n_decoded = 0
            if segment is None:
                segment = decode()
                n_decoded = segment.nbytes
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            coming.set_exception(error)
            raise
        with self._lock:
            del self._coming[key]
            self._decoded_bytes += n_decoded
            self._keep(key, segment)
        coming.set_result(segment)
        return segment

    def close(self) -> None:
        """Forget all, and remove the scratch file."""
        with self._lock:
            self._kept.clear()
            self._kept_bytes = 0
            if self._scratch is not None:
                self._scratch.close()
                self._scratch = None

    def _keep(self, key: Hashable, segment: NDArray[Any]) -> None:
        self._kept[key] = segment
        self._kept_bytes += segment.nbytes
        while self._kept_bytes > self._budget_bytes and len(self._kept) > 1:
            gone, forgotten = self._kept.popitem(last=False)
            self._kept_bytes -= forgotten.nbytes
            if self._scratch is not None:
                self._scratch.write(gone, forgotten)
