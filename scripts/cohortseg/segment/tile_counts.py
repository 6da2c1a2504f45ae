"""Cells of each tile, and on either side of each stretch of border: tiles that failed, and steps of density."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A tile is a hole with less than this share, in its inner part, of the cells that its neighbours lead to expect ...
_EMPTY_SHARE = 0.02
# ... while just outside it there is at least this share: holes of the tissue are no rectangles that fit.
_DENSE_SHARE = 0.75
# ... and if so many are expected: with fewer, the shape of a hole does not show.
_FEWEST_EXPECTED = 40.0
_FEWEST_NEIGHBOURS = 2
# Median of a squared standard normal number.
_MEDIAN_CHI2 = 0.455
# Half a tile with fewer diameters than this shows rows of cells rather than density.
_FEWEST_DIAMETERS = 4
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
    diameter_px
        Diameter of a cell. Cells within one and a half diameters of a border are beside it; within a quarter of the
        smallest tile, where that is less.
    """

    def __init__(
        self, lines_y: Sequence[int], lines_x: Sequence[int], shape: tuple[int, int], diameter_px: float
    ) -> None:
        self._edges = tuple(
            np.array([0, *lines, length], np.float64) for lines, length in zip((lines_y, lines_x), shape, strict=True)
        )
        narrowest = min(float(np.diff(edges).min()) for edges in self._edges)
        self._depth_px = min(1.5 * diameter_px, narrowest / 4)
        self._shows_steps = narrowest >= 2 * _FEWEST_DIAMETERS * diameter_px
        tiles = [len(edges) - 1 for edges in self._edges]
        self._halves = np.zeros([2 * count for count in tiles])
        self._inner = np.zeros(tiles)
        # [axis][tile across it, tile along it]: cells within, beside the border before the tile and the one after.
        self._first, self._last = ([np.zeros(tiles), np.zeros(tiles)] for _ in range(2))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Cells by row and column of tiles."""
        rows, columns = self._inner.shape
        counts: NDArray[np.int64] = self._halves.reshape(rows, 2, columns, 2).sum(axis=(1, 3)).astype(np.int64)
        return counts

    def add(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> None:
        """Add cells by their centroids."""
        tiles, halves, beside = [], [], []
        for edges, values in zip(self._edges, (y, x), strict=True):
            tile = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            offset, rest = values - edges[tile], edges[tile + 1] - values
            tiles.append(tile)
            halves.append(2 * tile + (offset >= rest))
            beside.append((offset < self._depth_px, rest <= self._depth_px))
        np.add.at(self._halves, (halves[0], halves[1]), 1)
        inner = ~(beside[0][0] | beside[0][1] | beside[1][0] | beside[1][1])
        np.add.at(self._inner, (tiles[0][inner], tiles[1][inner]), 1)
        for axis, (first, last) in enumerate(beside):
            np.add.at(self._first[axis], (tiles[0][first], tiles[1][first]), 1)
            np.add.at(self._last[axis], (tiles[0][last], tiles[1][last]), 1)

    def state(self) -> list[Any]:
        """Return the sums as plain data."""
        return [sums.tolist() for sums in self._sums()]

    def add_state(self, state: Sequence[Any]) -> None:
        """Add the sums of another, of the same tiles."""
        for sums, more in zip(self._sums(), state, strict=True):
            sums += more

    def _sums(self) -> tuple[NDArray[np.float64], ...]:
        return (self._halves, self._inner, *self._first, *self._last)

    def holes(self, p: float) -> list[Hole]:
        """Return the tiles that are empty beyond chance `p` for all tiles together, and fit the tile.

        The neighbours are those of the eight around it that the image has; the tissue between them is taken to be as
        dense as their median. Cells come in clumps: a clump counts once, by how much neighbouring tiles, without the
        one looked at, differ. What is empty within must be full just outside, along the tile's own borders: so
        vessels, tears and the background around a tissue are none, and neither are tiles that were skipped since
        nothing is there. Where tiles are ten to fifteen cells wide, a round hole of a tile's size right on a tile may
        still be taken for one; where they are thirty, as by default, hardly. Tiles of fewer cells are not judged.
        """
        needed = max(math.log(self._inner.size / p), _FEWEST_EXPECTED)
        heights, widths = (np.diff(edges) for edges in self._edges)
        areas_px2 = np.outer(heights, widths)
        inner_px2 = np.outer(heights - 2 * self._depth_px, widths - 2 * self._depth_px)
        counts = self.counts
        density = counts / areas_px2
        found = []
        for row, column in np.ndindex(*counts.shape):
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
                found.append(Hole(row, column, int(counts[row, column]), expected))
        return found

    def steps(self) -> Steps | None:
        """Compare steps of density across borders with those across the middles of tiles; None if there are too few.

        A tissue has as large steps here as there. Halves of tiles are compared with their neighbours in the next tile,
        and with the other half of their own. The ranks of the steps are compared (Mann and Whitney 1947), so that a few
        large ones do not matter.
        """
        if not self._shows_steps:
            return None
        down, across = self._stretches(self._halves, 0), self._stretches(self._halves.T, 1)
        border, control = (
            (np.concatenate([down[i][0], across[i][0]]), np.concatenate([down[i][1], across[i][1]])) for i in (1, 0)
        )
        if min(len(border[0]), len(control[0])) < _FEWEST_STRETCHES:
            return None
        shares = [float(moved.sum() / cells.sum()) for moved, cells in (border, control)]
        # Squared and divided by their variance, steps of dense and of thin tissue are alike.
        heights = [moved**2 / cells for moved, cells in (border, control)]
        return Steps(shares[0], shares[1], _p_larger(heights[0], heights[1]))

    def _stretches(
        self, halves: NDArray[np.float64], axis: int
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return, within tiles and across borders, by how many cells halves next to one another differ, and their sum.

        The difference is that of the densities, for as many pixels as both have in the mean.
        """
        widths = np.repeat(np.diff(self._edges[axis]) / 2, 2)[:, None]
        cells = halves[1:] + halves[:-1]
        mean_px = (widths[1:] + widths[:-1]) / 2
        moved = np.abs(halves[1:] / widths[1:] - halves[:-1] / widths[:-1]) * mean_px
        enough = cells >= _FEWEST_CELLS
        return [(moved[i::2][enough[i::2]], cells[i::2][enough[i::2]]) for i in (0, 1)]

    def _around(self, row: int, column: int) -> Iterator[tuple[int, int]]:
        height, width = self._inner.shape
        for y, x in product(range(row - 1, row + 2), range(column - 1, column + 2)):
            if 0 <= y < height and 0 <= x < width and (y, x) != (row, column):
                yield y, x

    def _rim_density(self, row: int, column: int) -> float:
        """Return cells / pixel² just outside a tile; of three sides or more the emptiest may be another hole's."""
        sides = []
        steps = ((0, -1, self._last), (0, 1, self._first), (1, -1, self._last), (1, 1, self._first))
        for axis, step, beside in steps:
            near = (row + step, column) if axis == 0 else (row, column + step)
            if 0 <= near[axis] < self._inner.shape[axis]:
                length_px = float(np.diff(self._edges[1 - axis])[near[1 - axis]])
                cells = float(beside[axis][near])
                sides.append((cells / length_px, cells, length_px))
        fullest = sorted(sides, reverse=True)[: max(2, len(sides) - 1)]
        return float(sum(cells for _, cells, _ in fullest) / sum(px for _, _, px in fullest) / self._depth_px)

    def _clumping(self, row: int, column: int) -> float:
        """Return how many cells come at once, by pairs of neighbouring tiles without this one; infinite without any."""
        counts = self.counts.astype(np.float64)
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
