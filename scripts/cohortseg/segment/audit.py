"""The seam audit: whether the borders of tiles and windows left a mark on the cells of a run.

Whatever a border does to cells, it does along known lines, and not along others. So everything is measured along
the borders and, in the same way, along control lines midway between them, and the two are compared. Controls
carry what the tissue itself does: straight walls, layers, density that changes. Three things are looked at.

- Outlines that run straight along a border: a cell that is cut ends in a straight run. The measure is the length of
  the runs of outline along a line, within `reach_px` of it.
- Cells near a border: fewer than along the controls were lost, more were doubled. The measure is the number of
  centroids within half a diameter of a line.
- Cells of each tile: a tile with next to none, among neighbours that all have many, was not segmented.

A difference is a finding where it is both large and far beyond chance. Chance is judged by the larger of two
variances of a line: that of independent runs or cells (the mean over the controls of the sum of squared lengths, or of
the count), and the one that the controls show among themselves, which is larger where cells lie in layers. To the
variance of a length is added the square of one diameter, so that a single straight cell is never a finding. All borders
together are tested beyond 5 standard deviations, single ones beyond 6, since there may be a hundred of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

# Standard deviations beyond which a difference is no chance.
_BEYOND_TOGETHER = 5.0
_BEYOND_SINGLE = 6.0
# Excess over the controls, as a factor, below which a difference, however certain, is too small to matter.
_LARGE_TOGETHER = 1.25
_LARGE_SINGLE = 2.0
# Fewer cells than this tell nothing.
_FEWEST_CELLS = 50
# A tile with less than this share of the cells that its neighbours lead to expect, where these are at least so many.
_EMPTY_SHARE = 0.05
_MANY_CELLS = 40.0
_FEWEST_NEIGHBOURS = 2


@dataclass(frozen=True)
class SeamLines:
    """Where a run could leave marks, in pixel edges of the image, rising, without the image's own borders.

    Attributes
    ----------
    tiles_y, tiles_x
        Where tiles of the network give way to one another.
    windows_y, windows_x
        Where windows of the post-processing hand over their cells.
    reach_px
        How far from a line its mark may lie, since lines of a scaled image fall between pixels.
    diameter_px
        Diameter of a cell in the image.
    """

    tiles_y: tuple[int, ...]
    tiles_x: tuple[int, ...]
    windows_y: tuple[int, ...]
    windows_x: tuple[int, ...]
    reach_px: int
    diameter_px: float


class _Axis:
    """Borders and controls across one axis, and what was measured along each."""

    def __init__(self, name: str, borders: Sequence[int], length_px: int, lines: SeamLines) -> None:
        self.name, self.reach_px, self.band_px = name, lines.reach_px, lines.diameter_px / 2
        self.borders = _apart(sorted(borders), 2 * self.reach_px + 1)
        clear_px = 4 * max(self.band_px, self.reach_px + 1)
        self.controls = [
            (before + after) // 2
            for before, after in pairwise((0, *self.borders, length_px))
            if after - before >= clear_px
        ]
        order = np.argsort([*self.borders, *self.controls], kind="stable")
        self._lines = np.array([*self.borders, *self.controls], np.int64)[order]
        self._order = order
        self.runs_px = np.zeros(len(order))
        self.squares_px2 = np.zeros(len(order))
        self.counts = np.zeros(len(order))

    def add_runs(self, places: NDArray[np.float64], lengths: NDArray[np.float64]) -> None:
        """Add straight runs of outline, at these places across the axis."""
        lines, near = self._nearest(places, self.reach_px)
        np.add.at(self.runs_px, lines, lengths[near])
        np.add.at(self.squares_px2, lines, lengths[near] ** 2)

    def add_cells(self, places: NDArray[np.float64]) -> None:
        """Add cells, with their centroids at these places across the axis."""
        np.add.at(self.counts, self._nearest(places, self.band_px)[0], 1)

    def _nearest(self, places: NDArray[np.float64], reach_px: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the line, as its place among borders and controls, of each place near one, and which are near."""
        if not len(self._lines):
            return np.zeros(0, np.int64), np.zeros(len(places), np.bool_)
        after = np.clip(np.searchsorted(self._lines, places), 1, max(len(self._lines) - 1, 1))
        before = after - 1
        after = np.minimum(after, len(self._lines) - 1)
        closer = np.abs(self._lines[before] - places) <= np.abs(self._lines[after] - places)
        nearest = np.where(closer, before, after)
        near = np.abs(self._lines[nearest] - places) <= reach_px
        return self._order[nearest[near]], near


class SeamAudit:
    """Sums over the cells of a run, in memory that depends on the number of tiles only.

    Parameters
    ----------
    lines
        Where to look.
    image_shape
        Height and width of the image.
    """

    def __init__(self, lines: SeamLines, image_shape: tuple[int, int]) -> None:
        self._lines, self._shape = lines, image_shape
        self._axes = (
            _Axis("y", (*lines.tiles_y, *lines.windows_y), image_shape[0], lines),
            _Axis("x", (*lines.tiles_x, *lines.windows_x), image_shape[1], lines),
        )
        self._tiles = np.zeros((len(lines.tiles_y) + 1, len(lines.tiles_x) + 1))
        self._boundary_px = 0.0

    def add(self, table: geopandas.GeoDataFrame) -> None:
        """Add cells: `geometry` along pixel edges, x right, y down, `centroid_x`, `centroid_y`, in image pixels."""
        if not len(table):
            return
        rings, ring = shapely.get_coordinates(shapely.get_rings(np.asarray(table.geometry)), return_index=True)
        steps, same = np.abs(np.diff(rings, axis=0)), ring[1:] == ring[:-1]
        for axis, along, across in ((self._axes[0], 0, 1), (self._axes[1], 1, 0)):
            straight = same & (steps[:, across] == 0)
            axis.add_runs(rings[:-1][straight, across], steps[straight, along])
        self._boundary_px += float(steps[same].sum())
        y, x = (table[name].to_numpy(np.float64) for name in ("centroid_y", "centroid_x"))
        self._axes[0].add_cells(y)
        self._axes[1].add_cells(x)
        rows, columns = np.searchsorted(self._lines.tiles_y, y), np.searchsorted(self._lines.tiles_x, x)
        np.add.at(self._tiles, (rows, columns), 1)

    def state(self) -> dict[str, Any]:
        """Return the sums as plain data, for `merged`."""
        sums = [[axis.runs_px.tolist(), axis.squares_px2.tolist(), axis.counts.tolist()] for axis in self._axes]
        return {
            "lines": asdict(self._lines),
            "image_shape": list(self._shape),
            "axes": sums,
            "tiles": self._tiles.tolist(),
            "boundary_px": self._boundary_px,
        }

    @classmethod
    def merged(cls, states: Sequence[Mapping[str, Any]]) -> Self:
        """Return the audit of all parts of an image from their states, at least one."""
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in states[0]["lines"].items()
        }
        height, width = states[0]["image_shape"]
        audit = cls(SeamLines(**given), (height, width))
        for state in states:
            for axis, (runs_px, squares_px2, counts) in zip(audit._axes, state["axes"], strict=True):
                axis.runs_px += runs_px
                axis.squares_px2 += squares_px2
                axis.counts += counts
            audit._tiles += state["tiles"]
            audit._boundary_px += state["boundary_px"]
        return audit

    def result(self) -> dict[str, Any]:
        """Return what metadata.json says.

        Returns
        -------
        dict
            `passed`: true, false, or null where there is too little to judge, for the `reason` given; `findings`:
            what failed, in words; `straight_share` and `straight_share_control`: share of all outlines' length that
            runs straight along a border, and along as many control lines; `density_ratio`: cells near a border for
            one near a control, null where there are none; `cells_per_tile`: by row and column; `outliers`: tiles
            with next to none among neighbours with many.
        """
        straight = [_compare(axis, axis.runs_px, axis.squares_px2, self._lines.diameter_px) for axis in self._axes]
        density = [_compare(axis, axis.counts, axis.counts, 1.0) for axis in self._axes]
        outliers = _outliers(self._tiles, self._areas())
        findings = [f"outlines run straight along {where}" for part in straight for where in part.above()]
        findings += [f"cells are doubled along {where}" for part in density for where in part.above()]
        findings += [f"cells are missing along {where}" for part in density for where in part.below()]
        findings += [
            f"tile in row {tile['row']}, column {tile['column']} has {tile['cells']} cells, but its neighbours lead to "
            f"expect about {tile['expected']}"
            for tile in outliers
        ]
        reason = None
        if not any(part.borders.size and part.controls.size for part in straight):
            reason = "the image is a single tile"
        elif self._tiles.sum() < _FEWEST_CELLS:
            reason = f"fewer than {_FEWEST_CELLS} cells"
        boundary_px = max(self._boundary_px, 1.0)
        near_controls = sum(part.expected for part in density)
        return {
            "passed": None if reason else not findings,
            "reason": reason,
            "findings": [] if reason else findings,
            "straight_share": sum(float(part.borders.sum()) for part in straight) / boundary_px,
            "straight_share_control": sum(part.expected for part in straight) / boundary_px,
            "density_ratio": sum(float(part.borders.sum()) for part in density) / near_controls
            if near_controls
            else None,
            "cells_per_tile": self._tiles.astype(int).tolist(),
            "outliers": outliers,
        }

    def _areas(self) -> NDArray[np.float64]:
        rows = np.diff([0, *self._lines.tiles_y, self._shape[0]])
        columns = np.diff([0, *self._lines.tiles_x, self._shape[1]])
        return np.outer(rows, columns).astype(np.float64)


@dataclass(frozen=True)
class _Compared:
    """What was measured along each border and each control of an axis, and the variance of a line by chance."""

    axis: _Axis
    borders: NDArray[np.float64]
    controls: NDArray[np.float64]
    variance: float
    floor: float

    @property
    def expected(self) -> float:
        """What all borders together have by the controls."""
        return len(self.borders) * float(self.controls.mean()) if self.controls.size else 0.0

    def above(self) -> list[str]:
        """Name the borders with much more than the controls: all of them, or single ones."""
        return self._beyond(lambda sums, expected: sums - expected, lambda sums, expected: sums / max(expected, 1e-9))

    def below(self) -> list[str]:
        """Name the borders with much less than the controls."""
        return self._beyond(lambda sums, expected: expected - sums, lambda sums, expected: expected / max(sums, 1e-9))

    def _beyond(self, excess: Callable[[float, float], float], factor: Callable[[float, float], float]) -> list[str]:
        if not (self.borders.size and self.controls.size):
            return []
        total, expected, n_borders = float(self.borders.sum()), self.expected, len(self.borders)
        level = expected / n_borders
        single = [
            f"{self.axis.name} = {line}"
            for line, found in zip(self.axis.borders, self.borders.tolist(), strict=True)
            if excess(found, level) > _BEYOND_SINGLE * self._deviation(1) and factor(found, level) > _LARGE_SINGLE
        ]
        beyond = excess(total, expected) > _BEYOND_TOGETHER * self._deviation(n_borders)
        together = beyond and factor(total, expected) > _LARGE_TOGETHER
        if together and not 0 < len(single) <= n_borders / 2:
            return [f"the borders of tiles and windows across {self.axis.name}"]
        return single

    def _deviation(self, n_borders: int) -> float:
        """Return the standard deviation of what so many borders have beyond the controls."""
        return float(np.sqrt(n_borders * self.variance * (1 + n_borders / len(self.controls)) + self.floor**2))


def _compare(axis: _Axis, sums: NDArray[np.float64], squares: NDArray[np.float64], floor: float) -> _Compared:
    """Compare borders and controls of an axis; `floor` is the least standard deviation of a comparison."""
    n_borders = len(axis.borders)
    controls = sums[n_borders:]
    independent = float(squares[n_borders:].mean()) if controls.size else 0.0
    among = float(controls.var(ddof=1)) if controls.size > 2 else 0.0
    return _Compared(axis, sums[:n_borders], controls, max(independent, among), floor)


def _outliers(tiles: NDArray[np.float64], areas_px: NDArray[np.float64]) -> list[dict[str, int]]:
    """Return the tiles with next to no cells among neighbours that all lead to expect many."""
    found = []
    for row, column in np.ndindex(tiles.shape):
        around = [
            (row + dy, column + dx)
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))
            if 0 <= row + dy < tiles.shape[0] and 0 <= column + dx < tiles.shape[1]
        ]
        if len(around) < _FEWEST_NEIGHBOURS:
            continue
        expected = min(tiles[near] / areas_px[near] for near in around) * areas_px[row, column]
        if expected >= _MANY_CELLS and tiles[row, column] < _EMPTY_SHARE * expected:
            cells = int(tiles[row, column])
            found.append({"row": row, "column": column, "cells": cells, "expected": round(expected)})
    return found


def _apart(lines: Sequence[int], least_px: int) -> list[int]:
    """Return the lines, rising, without those closer to the one before than so much."""
    kept: list[int] = []
    for line in lines:
        if not kept or line - kept[-1] >= least_px:
            kept.append(line)
    return kept
