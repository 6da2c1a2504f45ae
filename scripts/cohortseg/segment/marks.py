"""Whether lines across an image bear a mark that places beside them do not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.special import betainc

# Fewer independent places between the borders than this do not tell how much chance there is.
_FEWEST_PLACES = 4.0


@dataclass(frozen=True)
class Reach:
    """What counts as at a line p, and as beside it: [p - before, p + after), and `flank` places beyond `gap` of it."""

    before: int
    after: int
    gap: int
    flank: int

    @property
    def width(self) -> int:
        """Places at a line."""
        return self.before + self.after


@dataclass(frozen=True)
class Contrast:
    """What lies at lines and on either side of them; arrays of one shape.

    Attributes
    ----------
    found
        Sum at each line.
    expected
        (2, ...) what either side leads to expect at each line; NaN where a side has no place to look at.
    above, below
        Probability that chance alone gives so much, or so little; the larger one of those from either side. 1 where a
        side is missing.
    """

    found: NDArray[np.float64]
    expected: NDArray[np.float64]
    above: NDArray[np.float64]
    below: NDArray[np.float64]

    @property
    def times_more(self) -> NDArray[np.float64]:
        """How many times as much there is as the fuller side has."""
        times: NDArray[np.float64] = self.found / np.maximum(self.expected.max(axis=0), 1e-9)
        return times

    @property
    def times_less(self) -> NDArray[np.float64]:
        """How many times as much the emptier side has."""
        times: NDArray[np.float64] = self.expected.min(axis=0) / np.maximum(self.found, 1e-9)
        return times


class Scan:
    """A measure summed by place along an axis, compared at every place with what lies on either side.

    A line is compared with its own surroundings, so that tissue that is denser here than there does not matter, and
    with either side by itself, so that the edge of a tissue does not. Given what line and side hold together, the
    line's part of it is binomial, if what is summed comes as independent things of like size. Their size is taken as
    sum of squares / sum (for lengths of runs; 1 for cells), so that one long thing is one thing. Where things do not
    come independently, as in rows, sums scatter more: by the factor `dispersion`, measured at all places that are not
    near a border, by which all numbers are divided before the binomial tail is taken (quasi-likelihood: McCullagh and
    Nelder, "Generalized linear models", 2nd ed., section 4.5).

    Parameters
    ----------
    sums, squares
        (n,) sum and sum of squares of what lies at each place along the axis.
    borders
        Places of all lines that may bear marks; what is near one is beside none and tells nothing of chance.
    reach
        What counts as at a line and beside it.
    ends
        Places that do not count, at the image's own border.

    Attributes
    ----------
    free
        (n,) places that no border is near, with places to either side: they tell how much chance there is.
    """

    def __init__(
        self,
        sums: NDArray[np.float64],
        squares: NDArray[np.float64],
        borders: Sequence[int],
        reach: Reach,
        ends: Sequence[int],
    ) -> None:
        self._reach = reach
        inside = np.ones(len(sums))
        inside[list(ends)] = 0
        near = inside == 0
        for place in borders:
            near[max(0, place - reach.before - reach.gap) : place + reach.after + reach.gap] = True
        first = reach.after + reach.gap
        ranges = (
            (inside, -reach.before, reach.after),
            (~near, -reach.before - reach.gap - reach.flank, -reach.before - reach.gap),
            (~near, first, first + reach.flank),
        )
        # Line, side before, side after: (3, n) each.
        self._sums, self._squares, self._px = (
            np.stack([_within(values * seen, low, high) for seen, low, high in ranges])
            for values in (sums, squares, np.ones(len(sums)))
        )
        self.free: NDArray[np.bool_] = (
            (_within(~near, -reach.before, reach.after) == reach.width) & (self._px[1] > 0) & (self._px[2] > 0)
        )

    @cached_property
    def dispersion(self) -> float:
        """Factor, at least 1, by which sums scatter more than independent things; NaN where that cannot be told."""
        scatter, variance = self._scatter(np.flatnonzero(self.free)[:, None])
        places = np.count_nonzero(variance) / self._reach.width
        return _cautious(float(scatter.sum()), float(variance.sum()), places)

    def at(self, lines: NDArray[np.int64]) -> Contrast:
        """Compare each line by itself; what is less than its surroundings have anywhere is not above, nor below."""
        contrast = self._contrast(lines[:, None], self.dispersion)
        reach = 2 * (self._reach.flank + self._reach.gap + self._reach.width) + 1
        highest = maximum_filter1d(np.where(self.free, self._sums[0], -np.inf), reach)[lines]
        lowest = minimum_filter1d(np.where(self.free, self._sums[0], np.inf), reach)[lines]
        above = np.where(contrast.found > highest, contrast.above, 1)
        below = np.where(contrast.found < lowest, contrast.below, 1)
        return Contrast(contrast.found, contrast.expected, above, below)

    def together(self, lines: NDArray[np.int64]) -> Contrast:
        """Compare all lines as one; arrays of one element.

        Lines at like distances may all meet rows of cells, or of pixels made by scaling, in the same way: chance is
        what the same lines have, moved by every distance up to half their own.
        """
        half = int(np.median(np.diff(lines))) // 2 if len(lines) > 1 else 0
        moved = lines[None, :] + np.arange(-half, half + 1)[:, None]
        usable = (moved >= 0) & (moved < len(self.free))
        usable &= self.free[np.clip(moved, 0, len(self.free) - 1)]
        rows = usable.sum(axis=1) >= max(1, len(lines) / 2)
        combs = [places[seen] for places, seen in zip(moved[rows], usable[rows], strict=True)]
        totals = [self._scatter(comb[None, :]) for comb in combs]
        ratios = [float(scatter[0] / variance[0]) for scatter, variance in totals if variance[0] > 0]
        coherent = _cautious(sum(ratios), len(ratios), len(ratios) / self._reach.width) if ratios else 1.0
        return self._contrast(lines[None, :], max(self.dispersion, 1.0 if np.isnan(coherent) else coherent))

    def _scatter(self, lines: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return squared deviation and variance of the sums of each row of lines, given them and both sides."""
        sums, squares, px = (part[:, lines].sum(axis=-1) for part in (self._sums, self._squares, self._px))
        total = sums.sum(axis=0)
        share = px[0] / np.maximum(px.sum(axis=0), 1)
        size = squares.sum(axis=0) / np.maximum(total, 1e-9)
        return (sums[0] - total * share) ** 2, size * total * share * (1 - share)

    def _contrast(self, lines: NDArray[np.int64], dispersion: float) -> Contrast:
        sums, squares, px = (part[:, lines].sum(axis=-1) for part in (self._sums, self._squares, self._px))
        size = np.maximum(squares.sum(axis=0) / np.maximum(sums.sum(axis=0), 1e-9), 1e-9) * dispersion
        expected = np.where(px[1:] > 0, sums[1:] * px[0] / np.maximum(px[1:], 1), np.nan)
        share = px[0] / np.maximum(px[0] + px[1:], 1)
        line, sides = sums[0] / size, sums[1:] / size
        above = np.where(line > 0, betainc(np.maximum(line, 1e-9), sides + 1, share), 1)
        below = np.where(sides > 0, betainc(np.maximum(sides, 1e-9), line + 1, 1 - share), 1)
        known = (px[1:] > 0).all(axis=0) & ~np.isnan(dispersion)
        return Contrast(sums[0], expected, np.where(known, above.max(axis=0), 1), np.where(known, below.max(axis=0), 1))


def _within(values: NDArray[np.generic], low: int, high: int) -> NDArray[np.float64]:
    """Return at each place p the sum over [p + low, p + high), as far as it lies within the array."""
    count = len(values)
    before = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    places = np.arange(count)
    sums: NDArray[np.float64] = before[np.clip(places + high, 0, count)] - before[np.clip(places + low, 0, count)]
    return sums


def _cautious(scatter: float, variance: float, n_independent: float) -> float:
    """Return scatter / variance, one of its standard errors up, at least 1; NaN where there is too little to tell."""
    if n_independent < _FEWEST_PLACES or variance <= 0:
        return float("nan")
    return max(1.0, scatter / variance * (1 + math.sqrt(2 / n_independent)))
