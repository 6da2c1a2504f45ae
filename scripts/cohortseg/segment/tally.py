"""What a pass over an image counts, and what it takes: for metadata.json and for progress."""

import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_BYTES_PER_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass
class Tally:
    """Counts, seconds and peak memory of the segmentation of one image.

    Attributes
    ----------
    tiles, tiles_done, tiles_skipped
        Tiles of the plan (one that two strips need counts twice), those that are done, and of these the constant ones.
    windows, cells
        Windows post-processed, and cells given out.
    cells_cut
        Cells that reach the border of what their window sees.
    overlap_px, duplicates
        As `Frontier` counts them.
    seconds_s
        By stage. Of stages that run in several workers at once, the sum over the workers.
    peak_memory_bytes
        By stage: the largest memory that the process had held by the end of it.
    """

    tiles: int = 0
    tiles_done: int = 0
    tiles_skipped: int = 0
    windows: int = 0
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
        yield
        elapsed_s = time.perf_counter() - start
        with self._lock:
            self.seconds_s[stage] = self.seconds_s.get(stage, 0.0) + elapsed_s
            self.peak_memory_bytes[stage] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_RSS_UNIT

    def counts(self) -> dict[str, int]:
        """Return what was counted of a finished image."""
        return {
            "tiles": self.tiles,
            "tiles_skipped": self.tiles_skipped,
            "windows": self.windows,
            "cells": self.cells,
            "cells_cut": self.cells_cut,
            "overlap_px": self.overlap_px,
            "duplicates": self.duplicates,
        }
