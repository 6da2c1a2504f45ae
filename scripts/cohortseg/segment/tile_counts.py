"""Cells of each tile, and on either side of each stretch of border: tiles that failed, and steps of density."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A tile is a hole with less than this share, in its inner part, of the cells that its neighbours lead to expect ...
_EMPTY_SHARE = 0.05
# ... while just outside it there is at least this share: holes of the tissue are no rectangles that fit.
_DENSE_SHARE = 0.75
_FEWEST_NEIGHBOURS = 2
# Median of a squared standard normal number.
_MEDIAN_CHI2 = 0.455
# Stretches of border, and of control, below which steps are not compared; cells below which a stretch tells nothing.
_FEWEST_STRETCHES = 8
_FEWEST_CELLS = 10
# Steps of neighbouring stretches go together; the rank sum is taken to scatter twice as much as if they did not.
_RANK_DISPERSION = 2.0


@dataclass(frozen=True)
class Hole:
    """A tile that was not segmented."""

    row: int
    column: int
    cells: int
    expected: int


@dataclass(frozen=True)
class Steps:
    """Steps of density: the share of cells by which two sides differ, at borders and controls, and its p-value."""

    border: float
    control: float
    p: float


class TileCounts:
    """Sums over cells, by tile; memory depends on the number of tiles only.

    Parameters
    ----------
    lines_y, lines_x
        Borders of tiles, rising, within the image.
    shape
        Height and width of the image.
    depth_px
        How far from a border cells count as beside it; a quarter of the smallest tile at most.
    """

    def __init__(self, lines_y: Sequence[int], lines_x: Sequence[int], shape: tuple[int, int], depth_px: float) -> None:
        self._edges = tuple(
            np.array([0, *lines, length], np.float64) for lines, length in zip((lines_y, lines_x), shape, strict=True)
        )
        narrowest = min(float(np.diff(edges).min()) for edges in self._edges)
        self._depth_px = min(depth_px, narrowest / 4)
        self.counts = np.zeros([len(edges) - 1 for edges in self._edges])
        self._inner = np.zeros_like(self.counts)
        # [axis][line, control after it, next line ... from the image's first border; tile along it; before, after]
        self._beside = [
            np.zeros((2 * len(edges) - 1, along, 2))
            for edges, along in zip(self._edges, self.counts.shape[::-1], strict=True)
        ]

    def add(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> None:
        """Add cells by their centroids."""
        tiles = [
            np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            for edges, values in zip(self._edges, (y, x), strict=True)
        ]
        inner = np.ones(len(y), np.bool_)
        for axis, values in enumerate((y, x)):
            edges, tile, along = self._edges[axis], tiles[axis], tiles[1 - axis]
            low, high = edges[tile], edges[tile + 1]
            for line, offset in ((2 * tile, values - low), (2 * tile + 1, values - (low + high) / 2)):
                after = (offset >= 0) & (offset < self._depth_px)
                np.add.at(self._beside[axis][..., 1], (line[after], along[after]), 1)
            for line, offset in ((2 * tile + 2, high - values), (2 * tile + 1, (low + high) / 2 - values)):
                before = (offset > 0) & (offset <= self._depth_px)
                np.add.at(self._beside[axis][..., 0], (line[before], along[before]), 1)
            inner &= (values - low >= self._depth_px) & (high - values > self._depth_px)
        np.add.at(self.counts, (tiles[0], tiles[1]), 1)
        np.add.at(self._inner, (tiles[0][inner], tiles[1][inner]), 1)

    def state(self) -> list[Any]:
        """Return the sums as plain data."""
        return [sums.tolist() for sums in self._sums()]

    def add_state(self, state: Sequence[Any]) -> None:
        """Add the sums of another, of the same tiles."""
        for sums, more in zip(self._sums(), state, strict=True):
            sums += more

    def _sums(self) -> tuple[NDArray[np.float64], ...]:
        return (self.counts, self._inner, *self._beside)

    def holes(self, p: float) -> list[Hole]:
        """Return the tiles that are empty beyond chance `p` for all tiles together, and fit the tile.

        The neighbours are those of the eight around it that the image has; the tissue between them is taken to be as
        dense as their median. Cells come in clumps: a clump counts once, by how much neighbouring tiles, without the
        one looked at, differ. What is empty within must be full just outside, along the tile's own borders: so
        vessels, tears and the background around a tissue are none, and neither are tiles that were skipped since
        nothing is there.
        """
        needed = math.log(self.counts.size / p)
        heights, widths = (np.diff(edges) for edges in self._edges)
        areas_px2 = np.outer(heights, widths)
        inner_px2 = np.outer(heights - 2 * self._depth_px, widths - 2 * self._depth_px)
        density = self.counts / areas_px2
        found = []
        for row, column in np.ndindex(*self.counts.shape):
            around = list(self._around(row, column))
            if len(around) < _FEWEST_NEIGHBOURS:
                continue
            usual = float(np.median([density[near] for near in around]))
            inside = usual * inner_px2[row, column]
            if inside < needed or self._inner[row, column] > _EMPTY_SHARE * inside:
                continue
            dense = self._rim_density(row, column) >= _DENSE_SHARE * usual
            if dense and inside >= needed * self._clumping(row, column):
                expected = round(usual * float(areas_px2[row, column]))
                found.append(Hole(row, column, int(self.counts[row, column]), expected))
        return found

    def steps(self) -> Steps | None:
        """Compare steps of density across borders with those across the middles of tiles; None if there are too few.

        A tissue has as large steps here as there. Each stretch of a line, along one tile, gives one step, and the
        ranks of the steps are compared (Mann and Whitney 1947), so that a few large ones do not matter.
        """
        border = np.concatenate([beside[2:-1:2].reshape(-1, 2) for beside in self._beside])
        control = np.concatenate([beside[1::2].reshape(-1, 2) for beside in self._beside])
        border, control = (sides[sides.sum(axis=1) >= _FEWEST_CELLS] for sides in (border, control))
        if min(len(border), len(control)) < _FEWEST_STRETCHES:
            return None
        shares = [float(np.abs(np.diff(sides)).sum() / sides.sum()) for sides in (border, control)]
        # Squared and divided by their variance, steps of dense and of thin tissue are alike.
        heights = [np.diff(sides)[:, 0] ** 2 / sides.sum(axis=1) for sides in (border, control)]
        return Steps(shares[0], shares[1], _p_larger(heights[0], heights[1]))

    def _around(self, row: int, column: int) -> Iterator[tuple[int, int]]:
        height, width = self.counts.shape
        for y, x in product(range(row - 1, row + 2), range(column - 1, column + 2)):
            if 0 <= y < height and 0 <= x < width and (y, x) != (row, column):
                yield y, x

    def _rim_density(self, row: int, column: int) -> float:
        """Return cells / pixel² just outside a tile; of three sides or more the emptiest may be another hole's."""
        sides = []
        for axis, (at, along) in enumerate(((row, column), (column, row))):
            beside, length_px = self._beside[axis], float(np.diff(self._edges[1 - axis])[along])
            if at > 0:
                sides.append((beside[2 * at, along, 0] / length_px, beside[2 * at, along, 0], length_px))
            if at < self.counts.shape[axis] - 1:
                sides.append((beside[2 * at + 2, along, 1] / length_px, beside[2 * at + 2, along, 1], length_px))
        fullest = sorted(sides, reverse=True)[: max(2, len(sides) - 1)]
        return float(sum(cells for _, cells, _ in fullest) / sum(px for _, _, px in fullest) / self._depth_px)

    def _clumping(self, row: int, column: int) -> float:
        """Return how many cells come at once, by pairs of neighbouring tiles without this one; infinite without any."""
        counts = self.counts.copy()
        counts[row, column] = np.nan
        pairs = ((counts[1:], counts[:-1]), (counts[:, 1:], counts[:, :-1]))
        squares = [
            (one - other)[(enough := one + other >= _FEWEST_CELLS)] ** 2 / (one + other)[enough] for one, other in pairs
        ]
        known = np.concatenate(squares)
        return max(1.0, float(np.median(known)) / _MEDIAN_CHI2) if known.size else math.inf


def _p_larger(ones: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the p-value of the rank sum of `ones`, one-sided, with ties at their mean rank."""
    _, where, repeats = np.unique(np.concatenate([ones, others]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(repeats) - (repeats - 1) / 2)[where]
    n, m = len(ones), len(others)
    excess = ranks[:n].sum() - n * (n + m + 1) / 2
    variance = _RANK_DISPERSION * n * m * (n + m + 1) / 12
    return 0.5 * math.erfc(excess / math.sqrt(2 * variance))
