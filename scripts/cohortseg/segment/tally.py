"""What a pass over an image counts, and what it takes: for metadata.json and for progress."""

import resource
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_BYTES_PER_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def _peak_memory_bytes() -> int:
    """Return the largest memory that this process has held; where the system does not tell, with its parent's."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    # Of a process that another program turned into, this counts what that one held too.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_RSS_UNIT


@dataclass
class Tally:
    """Counts, seconds and peak memory of the segmentation of one image.

    Attributes
    ----------
    image_px
        Pixels of the image, or of the part of it, that are to be segmented.
    tiles, tiles_done, tiles_skipped
        Tiles of the plan (one that two strips need counts twice), those that are done, and of these the constant ones.
    windows, cells
        Windows post-processed, and cells given out.
    windows_grown
        Windows that were looked at once more with two halos, for a cell that reached the border of one.
    cells_cut
        Cells that reach the border of even what their window saw at last.
    overlap_px, duplicates
        As `Frontier` counts them.
    seconds_s
        By stage. Of stages that run in several workers at once, the sum over the workers. `forward` is how long
        the calling thread waited for the network, `wait_for_tiles` within that for tiles to be read, and
        `wait_for_windows` for windows to be post-processed. A GPU is not waited for after each operation: its `blend`
        is the time to queue it, and `postprocess` holds the workers' waiting for their turn on it.
    peak_memory_bytes
        By stage: the largest memory that the process had held by the end of it.
    """

    image_px: int = 0
    tiles: int = 0
    tiles_done: int = 0
    tiles_skipped: int = 0
    windows: int = 0
    windows_grown: int = 0
    cells: int = 0
    cells_cut: int = 0
    overlap_px: int = 0
    duplicates: int = 0
    seconds_s: dict[str, float] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent within to a stage; from any thread."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - start)

    def _add(self, stage: str, elapsed_s: float) -> None:
        with self._lock:
            self.seconds_s[stage] = self.seconds_s.get(stage, 0.0) + elapsed_s
            self.peak_memory_bytes[stage] = _peak_memory_bytes()

    def timed_each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, adding the time that each takes to come to a stage."""
        iterator = iter(items)
        while True:
            with self.timed(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    @property
    def done_px(self) -> int:
        """About how many pixels of the image have been through the network."""
        return self.image_px * self.tiles_done // max(self.tiles, 1)

    def counts(self) -> dict[str, int]:
        """Return what was counted of a finished image."""
        return {
            "tiles": self.tiles,
            "tiles_skipped": self.tiles_skipped,
            "windows": self.windows,
            "windows_grown": self.windows_grown,
            "cells": self.cells,
            "cells_cut": self.cells_cut,
            "overlap_px": self.overlap_px,
            "duplicates": self.duplicates,
        }
