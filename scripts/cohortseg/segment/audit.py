"""The seam audit: whether the borders of tiles and windows left a mark on the cells of a run.

Whatever a border does to cells, it does along known lines, and not beside them. Four things are looked at.

- Outlines that run straight along a border: a cell that is cut ends in a straight run. The measure is the length of
  the runs of outline within `reach_px` of a line.
- Cells near a border: fewer than beside it were lost, more were doubled. The measure is the number of centroids within
  half, and within a quarter, of a diameter of a line.
- Density on either side of a border: tiles that see cells differently leave steps.
- Cells of each tile: an empty tile whose neighbours are full right up to it was not segmented.

The first two are judged by `marks.Scan`, against what lies beside each line, with chance measured at all places between
the borders; the others by `tile_counts.TileCounts`. A difference is a finding where it is both large and beyond
chance. Beyond chance: 1e-4 a run is shared evenly among lines, steps and tiles, and the share of the lines among all
comparisons made (Bonferroni); this leaves a factor of ten to the 1e-3 a run that is promised, for what the models of
chance do not hold. Large: half as much again at a single line or step, a
fifth at all lines together; what is smaller does not matter, however certain.

What a border did cannot be told from what lies in the image along the very same line, such as a mosaic's own seam. Nor
can tiles be judged that have no neighbours with cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from cohortseg.segment.marks import Contrast, Reach, Scan
from cohortseg.segment.tile_counts import TileCounts

# Chance of any false finding in a run, by the models.
_P_RUN = 1e-4
# Factors below which a difference is too small to matter.
_LARGE_SINGLE = 1.5
_LARGE_TOGETHER = 1.2
# Share of cells beyond that within tiles, likewise; rows of cells give some.
_LARGE_STEP = 0.1
# With fewer cells expected along all borders, a mark could not be told from chance.
_FEWEST_CELLS = 10.0
# Borders of one kind that a finding names.
_MOST_NAMED = 4


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
    """What was summed by place across one axis of the image, and the borders across it."""

    def __init__(self, name: str, families: Mapping[str, Sequence[int]], length_px: int, lines: SeamLines) -> None:
        self.name, self._lines, self._length_px = name, lines, length_px
        self.families = {
            family: np.unique([place for place in places if 0 < place < length_px]).astype(np.int64)
            for family, places in families.items()
        }
        self.borders: NDArray[np.int64] = np.unique(np.concatenate([*self.families.values()]))
        self.runs_px = np.zeros(length_px + 1)
        self.squares_px2 = np.zeros(length_px + 1)
        self.cells = np.zeros(length_px + 1)

    def add_runs(self, places: NDArray[np.int64], lengths_px: NDArray[np.float64]) -> None:
        """Add straight runs of outline, by their places across the axis."""
        _add(self.runs_px, places, lengths_px)
        _add(self.squares_px2, places, lengths_px**2)

    def add_cells(self, centroids: NDArray[np.float64]) -> None:
        """Add cells, by their centroids' places across the axis."""
        _add(self.cells, centroids.astype(np.int64), np.ones(len(centroids)))

    def sums(self) -> tuple[NDArray[np.float64], ...]:
        """Return all sums, to be stored and added to."""
        return self.runs_px, self.squares_px2, self.cells

    def straight(self) -> Scan:
        """Return the scan of straight outlines; on the image's own border, cells are cut."""
        reach_px, diameter_px = self._lines.reach_px, self._lines.diameter_px
        reach = Reach(reach_px, reach_px + 1, max(1, round(diameter_px / 4)), max(2, round(2 * diameter_px)))
        return Scan(self.runs_px, self.squares_px2, self.borders.tolist(), reach, (0, self._length_px))

    def crowding(self, share: float) -> Scan:
        """Return the scan of cells within a share of a diameter of a line."""
        diameter_px = self._lines.diameter_px
        band_px = max(1, round(share * diameter_px))
        reach = Reach(band_px, band_px, max(1, round(diameter_px / 4)), max(2, round(2 * diameter_px)))
        return Scan(self.cells, self.cells, self.borders.tolist(), reach, (self._length_px,))

    def runs_px_along(self, lines: NDArray[np.int64]) -> float:
        """Return the length of straight outline along lines, each place once, but for the image's own border."""
        reach_px, along = self._lines.reach_px, np.zeros(self._length_px + 1, np.bool_)
        for line in lines.tolist():
            along[max(1, line - reach_px) : min(self._length_px, line + reach_px + 1)] = True
        return float(self.runs_px[along].sum())

    def controls(self) -> NDArray[np.int64]:
        """Return the lines midway between borders, where they are clear of these."""
        edges = np.array([0, *self.borders.tolist(), self._length_px])
        clear = np.diff(edges) > 4 * (self._lines.reach_px + 1)
        middles: NDArray[np.int64] = (edges[:-1] + np.diff(edges) // 2)[clear]
        return middles


class SeamAudit:
    """Sums over the cells of a run: a few numbers for each row, column and tile of the image.

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
            _Axis("y", {"tiles": lines.tiles_y, "windows": lines.windows_y}, image_shape[0], lines),
            _Axis("x", {"tiles": lines.tiles_x, "windows": lines.windows_x}, image_shape[1], lines),
        )
        tiles_y, tiles_x = (axis.families["tiles"].tolist() for axis in self._axes)
        self._tiles = TileCounts(tiles_y, tiles_x, image_shape, lines.diameter_px)
        self._boundary_px = 0.0

    def add(self, table: geopandas.GeoDataFrame) -> None:
        """Add cells: `geometry` along pixel edges, x right, y down, `centroid_x`, `centroid_y`, in image pixels."""
        if not len(table):
            return
        rings, ring = shapely.get_coordinates(shapely.get_rings(np.asarray(table.geometry)), return_index=True)
        places, lengths_px = rings[:-1].astype(np.int64), np.abs(np.diff(rings, axis=0))
        same = ring[1:] == ring[:-1]
        y, x = (table[name].to_numpy(np.float64) for name in ("centroid_y", "centroid_x"))
        for axis, along, across, centroids in ((self._axes[0], 0, 1, y), (self._axes[1], 1, 0, x)):
            straight = same & (lengths_px[:, across] == 0)
            axis.add_runs(places[straight, across], lengths_px[straight, along])
            axis.add_cells(centroids)
        self._boundary_px += float(lengths_px[same].sum())
        self._tiles.add(y, x)

    def state(self) -> dict[str, Any]:
        """Return the sums as plain data, for `merged`."""
        return {
            "lines": asdict(self._lines),
            "image_shape": list(self._shape),
            "axes": [[sums.tolist() for sums in axis.sums()] for axis in self._axes],
            "tiles": self._tiles.state(),
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
            for axis, stored in zip(audit._axes, state["axes"], strict=True):
                for sums, more in zip(axis.sums(), stored, strict=True):
                    sums += more
            audit._tiles.add_state(state["tiles"])
            audit._boundary_px += state["boundary_px"]
        return audit

    def result(self) -> dict[str, Any]:
        """Return what metadata.json says.

        Returns
        -------
        dict
            `passed`: true, false, or null where there is too little to judge, for the `reason` given; `findings`:
            what failed, in words. `straight_share` and `straight_share_control`: share of all outlines' length that
            runs straight along a border, and along as many lines midway between borders. `density_ratio`: cells within
            half a diameter of a border for one that what lies beside it leads to expect. `density_step` and
            `density_step_control`: share of cells by which the halves of tiles on either side of a border, and
            the halves of one tile, differ. `cells_per_tile`: by row and column. `outliers`: tiles without cells among
            neighbours with many, with their `row`, `column`, `cells` and the number `expected`. Shares, ratios and
            steps are null where there is nothing to take them of.
        """
        axes = [axis for axis in self._axes if axis.borders.size]
        measures = [measure for axis in axes for measure in _measures(axis)]
        p_kind = _P_RUN / 3
        p_line = p_kind / max(1, sum(measure.n_tests for measure in measures))
        found: dict[str, str] = {}
        for measure in measures:
            found = measure.findings(p_line) | found
        steps, holes = self._tiles.steps(), self._tiles.holes(p_kind)
        large_step = steps and steps.border > max(_LARGE_SINGLE * steps.control, _LARGE_STEP + steps.control)
        if steps and large_step and steps.p < p_kind:
            found["step"] = (
                f"the density of cells steps across borders of tiles: by {steps.border:.0%}, and by "
                f"{steps.control:.0%} within tiles"
            )
        for hole in holes:
            found[str(hole)] = (
                f"the tile in row {hole.row}, column {hole.column} has {hole.cells} cells where its neighbours lead "
                f"to expect {hole.expected}"
            )
        near, expected = _near_borders(axes)
        reason = None if found else _reason(measures, expected)
        return {
            "passed": None if reason else not found,
            "reason": reason,
            "findings": list(found.values()),
            **self._straight_shares(axes),
            "density_ratio": near / expected if expected else None,
            "density_step": steps.border if steps else None,
            "density_step_control": steps.control if steps else None,
            "cells_per_tile": self._tiles.counts.tolist(),
            "outliers": [asdict(hole) for hole in holes],
        }

    def _straight_shares(self, axes: Sequence[_Axis]) -> dict[str, float | None]:
        boundary_px = self._boundary_px
        if not boundary_px:
            return {"straight_share": None, "straight_share_control": None}
        controls = [(axis.runs_px_along(axis.controls()), len(axis.controls()), len(axis.borders)) for axis in axes]
        known = all(n_controls for _, n_controls, _ in controls)
        along_controls = sum(px / n_controls * n_borders for px, n_controls, n_borders in controls) if known else None
        return {
            "straight_share": sum(axis.runs_px_along(axis.borders) for axis in axes) / boundary_px,
            "straight_share_control": None if along_controls is None else along_controls / boundary_px,
        }


@dataclass(frozen=True)
class _Measure:
    """One scan of one axis, with words for what is more than beside a border and what is less, as far as it counts."""

    axis: _Axis
    scan: Scan
    unit: str
    more: str
    less: str | None

    @property
    def n_tests(self) -> int:
        """Number of comparisons that `findings` makes."""
        return (len(self.axis.borders) + len(self.axis.families)) * (1 if self.less is None else 2)

    def findings(self, p: float) -> dict[str, str]:
        """Return what is beyond chance `p` a test, as what and where it is and the same with numbers."""
        alone = self.scan.at(self.axis.borders)
        found = self._found(alone, p, self.more, above=True)
        return found | (self._found(alone, p, self.less, above=False) if self.less else {})

    def _found(self, alone: Contrast, p: float, what: str, *, above: bool) -> dict[str, str]:
        """Return the families marked as a whole, then the borders marked by themselves."""
        axis, found = self.axis, {}
        marked = _beyond(alone, p, _LARGE_SINGLE, above=above)
        named = np.zeros(len(axis.borders), np.bool_)
        for family, lines in axis.families.items():
            here = marked & np.isin(axis.borders, lines)
            if len(lines) < 2 or 0 < here.sum() <= len(lines) / 2:
                continue
            together = self.scan.together(lines)
            if _beyond(together, p, _LARGE_TOGETHER, above=above)[0]:
                where = f"{what} along the borders of {family} across {axis.name}"
                found[where] = f"{where}: {self._numbers(together, 0)}"
                named |= here
        for i in np.flatnonzero(marked & ~named)[:_MOST_NAMED].tolist():
            where = f"{what} along {axis.name} = {axis.borders[i]}"
            found[where] = f"{where}, a border of {self._families(int(axis.borders[i]))}: {self._numbers(alone, i)}"
        return found

    def _families(self, line: int) -> str:
        return " and ".join(family for family, lines in self.axis.families.items() if line in lines)

    def _numbers(self, contrast: Contrast, i: int) -> str:
        expected = contrast.expected[:, i].mean()
        return f"{contrast.found[i]:,.0f} {self.unit}, expected {expected:,.0f}"


def _measures(axis: _Axis) -> list[_Measure]:
    """Return the scans of an axis; what an earlier one finds goes before the same of a later one."""
    doubled, missing = "cells are doubled", "cells are missing"
    return [
        _Measure(axis, axis.straight(), "px", "outlines run straight", None),
        *(_Measure(axis, axis.crowding(share), "cells", doubled, missing) for share in (0.5, 0.25)),
    ]


def _beyond(contrast: Contrast, p: float, large: float, *, above: bool) -> NDArray[np.bool_]:
    chance, times = (contrast.above, contrast.times_more) if above else (contrast.below, contrast.times_less)
    return (chance < p) & (times > large)


def _near_borders(axes: Sequence[_Axis]) -> tuple[float, float]:
    """Return the cells within half a diameter of all borders, and how many what lies beside these leads to expect."""
    near = expected = 0.0
    for axis in axes:
        contrast = axis.crowding(0.5).at(axis.borders)
        known = ~np.isnan(contrast.expected).any(axis=0)
        near += float(contrast.found[known].sum())
        expected += float(contrast.expected[:, known].mean(axis=0).sum())
    return near, expected


def _reason(measures: Sequence[_Measure], expected: float) -> str | None:
    """Return why a run without findings was not judged; None where it was."""
    if not measures:
        return "the image is a single tile"
    if not any(measure.scan.free.any() for measure in measures):
        return "the borders lie too close together to be compared with what lies between them"
    if expected < _FEWEST_CELLS or all(np.isnan(measure.scan.dispersion) for measure in measures):
        return f"about {expected:.0f} cells lie along the borders, and at least {_FEWEST_CELLS:.0f} are needed"
    return None


def _add(sums: NDArray[np.float64], places: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Add values at their places, in time that depends on the range of places only."""
    if len(places):
        first = int(places.min())
        added = np.bincount(places - first, values)
        sums[first : first + len(added)] += added
