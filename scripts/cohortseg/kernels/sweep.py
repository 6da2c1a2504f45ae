"""Pixels that the polygons of two planes have in common, from runs of pixels, a band of rows at a time."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cohortseg.kernels._jit import jit
from cohortseg.kernels._pairs import doubled, slot_of
from cohortseg.kernels._runs import Runs

_FIRST_CAPACITY = 1 << 14
# How many places a run may move on average before a row is sorted by numpy instead of by insertion.
_MOVES_PER_RUN = 16
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class Taken(NamedTuple):
    """Pixels of one plane that several of its polygons cover; the later polygon has them."""

    cells: NDArray[np.uint32]
    """(n,) polygons that lost pixels, in no order, some repeatedly."""
    pixels: NDArray[np.int64]
    """(n,) how many they lost."""
    conflicts: int
    """Pixels that one polygon lost to another, as `raster.fill_polygons` counts them."""


def sweep_band(
    below: Sequence[Runs], above: Sequence[Runs], first_row: int, end_row: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64], Taken, Taken]:
    """Count the pixels that each pair of polygons has in common within a band of rows.

    The runs of each plane are merged row by row; where they lie apart, as those of cells do, nothing is drawn. Where
    polygons of one plane overlap, the stretch that they share is drawn in the order of their numbers, so that the
    later wins, as in a label image.

    Parameters
    ----------
    below, above
        Runs of the two planes, each in any number of pieces; rows out of the band are passed over.
    first_row, end_row
        The band, half open.

    Returns
    -------
    pairs, counts
        (n, 2) uint32, the numbers of polygons below and above that share pixels, in no order but always the same,
        and (n,) int64 how many.
    taken_below, taken_above
        What polygons of a plane lost to later ones of the same plane.
    """
    found = _sweep(*_joined(below, first_row, end_row), *_joined(above, first_row, end_row))
    keys, counts = found[:2]
    # Numbers are one more in the table, where 0 marks an empty place.
    pairs = np.stack([keys >> _HALF, keys & _LOW], axis=1).astype(np.uint32) - np.uint32(1)
    return pairs, counts, Taken(*found[2:5]), Taken(*found[5:])


def _joined(
    pieces: Sequence[Runs], first_row: int, end_row: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.int64]]:
    """Return spans and cells of all pieces in turn, and where the rows of each begin: (pieces, rows + 1)."""
    starts = np.zeros((len(pieces), end_row - first_row + 1), np.int64)
    spans, cells, n = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], 0
    for piece, of_rows in zip(pieces, starts, strict=True):
        rows = np.clip(np.arange(first_row, end_row + 1) - piece.first_row, 0, piece.row_starts.size - 1)
        found = piece.row_starts[rows]
        spans.append(piece.spans[found[0] : found[-1]])
        cells.append(piece.cells[found[0] : found[-1]])
        of_rows[:] = found - found[0] + n
        n += found[-1] - found[0]
    return np.concatenate(spans), np.concatenate(cells), starts


@jit
def _left(span: np.uint64) -> int:
    return int(np.int64(span >> _HALF))


@jit
def _right(span: np.uint64) -> int:
    return int(np.int64(span & _LOW))


@jit
def _gather(
    spans: NDArray[np.uint64],
    cells: NDArray[np.uint32],
    starts: NDArray[np.int64],
    row: int,
    row_spans: NDArray[np.uint64],
    row_cells: NDArray[np.uint32],
) -> int:
    """Copy the runs of a row from all pieces, sorted by column; return how many there are."""
    n, moves = 0, 0
    for piece in range(starts.shape[0]):
        for run in range(starts[piece, row], starts[piece, row + 1]):
            span, cell = spans[run], cells[run]
            place = n
            # Past the bound, runs are only collected.
            while place > 0 and row_spans[place - 1] > span and moves <= _MOVES_PER_RUN * (n + 1):
                row_spans[place], row_cells[place] = row_spans[place - 1], row_cells[place - 1]
                place -= 1
                moves += 1
            row_spans[place], row_cells[place] = span, cell
            n += 1
    if moves > 0:
        _sort_unsorted(row_spans[:n], row_cells[:n])
    return n


@jit
def _sort_unsorted(spans: NDArray[np.uint64], cells: NDArray[np.uint32]) -> None:
    for run in range(1, spans.size):
        if spans[run] < spans[run - 1]:
            order = np.argsort(spans, kind="mergesort")
            spans[:], cells[:] = spans[order], cells[order]
            return


@jit
def _longest_row(starts: NDArray[np.int64]) -> int:
    longest = 0
    for row in range(starts.shape[1] - 1):
        n = 0
        for piece in range(starts.shape[0]):
            n += starts[piece, row + 1] - starts[piece, row]
        longest = max(longest, n)
    return longest


@jit
def _first_overlap(spans: NDArray[np.uint64], start: int, n: int) -> int:
    """Return the first run from `start` on that the one after it overlaps; n where there is none."""
    for run in range(start, n - 1):
        if _left(spans[run + 1]) < _right(spans[run]):
            return run
    return n


@jit
def _resolve(
    spans: NDArray[np.uint64],
    cells: NDArray[np.uint32],
    n: int,
    out_spans: NDArray[np.uint64],
    out_cells: NDArray[np.uint32],
    line: NDArray[np.uint64],
    taken: tuple[NDArray[np.uint32], NDArray[np.int64]],
    found: NDArray[np.int64],
) -> tuple[int, tuple[NDArray[np.uint32], NDArray[np.int64]]]:
    """Write runs without overlaps: where runs overlap, they are drawn into a line in the order of their numbers.

    `found` holds how many entries `taken` has, and the conflicts. Returns how many runs there are, and `taken`,
    which may have grown.
    """
    n_out, run = 0, 0
    while run < n:
        left, right = _left(spans[run]), _right(spans[run])
        end = run + 1
        while end < n and _left(spans[end]) < right:
            right = max(right, _right(spans[end]))
            end += 1
        if end == run + 1:
            out_spans[n_out], out_cells[n_out] = spans[run], cells[run]
            n_out += 1
        else:
            while taken[0].size < found[0] + (right - left) * (end - run):
                taken = np.append(taken[0], np.empty_like(taken[0])), np.append(taken[1], np.empty_like(taken[1]))
            stretch = line[: right - left]
            for i in np.argsort(cells[run:end], kind="mergesort"):
                _draw(stretch, spans[run + i], left, cells[run + i], taken, found)
            n_out = _extract(stretch, left, out_spans, out_cells, n_out)
        run = end
    return n_out, taken


@jit
def _draw(
    line: NDArray[np.uint64],
    span: np.uint64,
    left: int,
    cell: np.uint32,
    taken: tuple[NDArray[np.uint32], NDArray[np.int64]],
    found: NDArray[np.int64],
) -> None:
    """Write a run's number plus one into a line; note what pixels of others it took."""
    lost = np.uint64(0)
    for x in range(_left(span) - left, _right(span) - left):
        before = line[x]
        if before != 0:
            if before != lost:
                taken[0][found[0]], taken[1][found[0]] = np.uint32(before - np.uint64(1)), 0
                found[0] += 1
            taken[1][found[0] - 1] += 1
            found[1] += before != np.uint64(cell) + np.uint64(1)
        lost = before
        line[x] = np.uint64(cell) + np.uint64(1)


@jit
def _extract(
    line: NDArray[np.uint64],
    left: int,
    out_spans: NDArray[np.uint64],
    out_cells: NDArray[np.uint32],
    n_out: int,
) -> int:
    """Turn a line without gaps back into runs, and clear it."""
    start = 0
    for x in range(1, line.size + 1):
        if x == line.size or line[x] != line[start]:
            out_spans[n_out] = np.uint64(left + start) << _HALF | np.uint64(left + x)
            out_cells[n_out] = np.uint32(line[start] - np.uint64(1))
            n_out += 1
            start = x
    line[:] = 0
    return n_out


@jit
def _sweep(
    below_spans: NDArray[np.uint64],
    below_cells: NDArray[np.uint32],
    below_starts: NDArray[np.int64],
    above_spans: NDArray[np.uint64],
    above_cells: NDArray[np.uint32],
    above_starts: NDArray[np.int64],
) -> tuple[
    NDArray[np.uint64],
    NDArray[np.int64],
    NDArray[np.uint32],
    NDArray[np.int64],
    int,
    NDArray[np.uint32],
    NDArray[np.int64],
    int,
]:
    """Return key (below + 1) << 32 | above + 1 and count of each pair, and what each plane's polygons lost."""
    keys, counts, used = np.zeros(_FIRST_CAPACITY, np.uint64), np.zeros(_FIRST_CAPACITY, np.int64), 0
    n_below, n_above = _longest_row(below_starts), _longest_row(above_starts)
    # A line of overlapping runs gives fewer than two for each.
    spans, cells = np.empty(max(n_below, n_above), np.uint64), np.empty(max(n_below, n_above), np.uint32)
    b_spans, b_cells = np.empty(2 * n_below, np.uint64), np.empty(2 * n_below, np.uint32)
    a_spans, a_cells = np.empty(2 * n_above, np.uint64), np.empty(2 * n_above, np.uint32)
    line = np.zeros(0, np.uint64)
    b_taken, a_taken = (
        (np.empty(64, np.uint32), np.empty(64, np.int64)),
        (np.empty(64, np.uint32), np.empty(64, np.int64)),
    )
    b_found, a_found = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for row in range(below_starts.shape[1] - 1):
        n = _gather(below_spans, below_cells, below_starts, row, b_spans, b_cells)
        if _first_overlap(b_spans, 0, n) < n:
            line = _at_least(line, b_spans[:n])
            spans[:n], cells[:n] = b_spans[:n], b_cells[:n]
            n, b_taken = _resolve(spans, cells, n, b_spans, b_cells, line, b_taken, b_found)
        m = _gather(above_spans, above_cells, above_starts, row, a_spans, a_cells)
        if _first_overlap(a_spans, 0, m) < m:
            line = _at_least(line, a_spans[:m])
            spans[:m], cells[:m] = a_spans[:m], a_cells[:m]
            m, a_taken = _resolve(spans, cells, m, a_spans, a_cells, line, a_taken, a_found)
        while 2 * (used + n + m) > keys.size:
            keys, counts = doubled(keys, counts)
        used += _merge(b_spans[:n], b_cells, a_spans[:m], a_cells, keys, counts)
    filled = np.flatnonzero(keys)
    lost, by = b_taken[0][: b_found[0]], b_taken[1][: b_found[0]]
    lost_above, by_above = a_taken[0][: a_found[0]], a_taken[1][: a_found[0]]
    return keys[filled], counts[filled], lost, by, b_found[1], lost_above, by_above, a_found[1]


@jit
def _at_least(line: NDArray[np.uint64], spans: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a line that is as long as the stretch that some runs lie in."""
    right = _right(spans[0])
    for run in range(1, spans.size):
        right = max(right, _right(spans[run]))
    length = right - _left(spans[0])
    return line if line.size >= length else np.zeros(2 * length, np.uint64)


@jit
def _merge(
    below_spans: NDArray[np.uint64],
    below_cells: NDArray[np.uint32],
    above_spans: NDArray[np.uint64],
    above_cells: NDArray[np.uint32],
    keys: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> int:
    """Add what two sorted lists of disjoint runs share to a table that has places for it; return its new pairs."""
    n_new, i, j = 0, 0, 0
    while i < below_spans.size and j < above_spans.size:
        below, above = below_spans[i], above_spans[j]
        left = max(_left(below), _left(above))
        right_below, right_above = _right(below), _right(above)
        right = min(right_below, right_above)
        if left < right:
            key = (np.uint64(below_cells[i]) + np.uint64(1)) << _HALF | (np.uint64(above_cells[j]) + np.uint64(1))
            slot = slot_of(keys, key)
            n_new += int(keys[slot] == np.uint64(0))
            keys[slot] = key
            counts[slot] += right - left
        if right_below <= right_above:
            i += 1
        else:
            j += 1
    return n_new
