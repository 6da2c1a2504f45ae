"""Levels of a label pyramid, each made from the one above while that is still in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from cohortseg.arrays import Box, Labels
from cohortseg.stores.shards import ShardGrid

_Place = tuple[int, int, int, int]
"""Level, plane, row and column of a shard."""


@dataclass
class _Part:
    """A shard that waits for some of the up to four shards above it."""

    labels: Labels
    n_missing: int


class Pyramid:
    """Takes the shards of full resolution, in any order and from several threads, and writes all levels.

    Each level holds every second row and column of the one above. In the order of `places`, no more parts of lower
    levels wait than three a level, and as many as there are threads.
    """

    def __init__(self, grids: Sequence[ShardGrid]) -> None:
        self._grids = grids
        self._waiting: dict[_Place, _Part] = {}
        self._lock = Lock()

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield rows and columns of the shards of full resolution, those of one shard of a lower level together."""
        rows, columns = self._grids[0].counts
        every = ((row, column) for row in range(rows) for column in range(columns))
        # binary digits read in base 4 interleave: the order along a Z-shaped curve
        yield from sorted(every, key=lambda place: 2 * int(f"{place[0]:b}", 4) + int(f"{place[1]:b}", 4))

    def box(self, row: int, column: int) -> Box:
        """Return the pixels of a shard of full resolution."""
        return self._grids[0].box(row, column)

    def add(self, z: int, row: int, column: int, labels: Labels) -> None:
        """Write a shard of full resolution, and those of lower levels that were waiting for it."""
        for level, grid in enumerate(self._grids):
            grid.write(z, row, column, labels)
            if level + 1 == len(self._grids):
                return
            whole = self._hand_down(level + 1, z, row, column, labels)
            if whole is None:
                return
            row, column, labels = row // 2, column // 2, whole

    def _hand_down(self, level: int, z: int, row: int, column: int, labels: Labels) -> Labels | None:
        """Put every second row and column into a shard of the level; return the shard once it is complete."""
        place = level, z, row // 2, column // 2
        with self._lock:
            if place not in self._waiting:
                self._waiting[place] = self._new_part(place)
            part = self._waiting[place]
        above, below = self._grids[level - 1].box(row, column), self._grids[level].box(*place[2:])
        kept = labels[above.y0 % 2 :: 2, above.x0 % 2 :: 2]
        y, x = (above.y0 + 1) // 2 - below.y0, (above.x0 + 1) // 2 - below.x0
        part.labels[y : y + kept.shape[0], x : x + kept.shape[1]] = kept
        with self._lock:
            part.n_missing -= 1
            if part.n_missing:
                return None
            return self._waiting.pop(place).labels

    def _new_part(self, place: _Place) -> _Part:
        level, _, row, column = place
        rows, columns = self._grids[level - 1].counts
        n_above = (min(rows, 2 * row + 2) - 2 * row) * (min(columns, 2 * column + 2) - 2 * column)
        return _Part(np.zeros(self._grids[level].box(row, column).shape, np.uint32), n_above)
