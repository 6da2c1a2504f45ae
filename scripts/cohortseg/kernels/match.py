"""Pairs of two sets, one to one, with the largest total weight."""

import heapq

import numpy as np
from numpy.typing import NDArray

from cohortseg.errors import TableError
from cohortseg.kernels._jit import jit

_NONE = -1
Rows = NDArray[np.int64]
Weights = NDArray[np.float64]


def match_pairs(lower: Rows, upper: Rows, weights: Weights) -> Rows:
    """Choose pairs so that each member is in one at most and their weights add up to the largest total.

    The Hungarian method on a sparse graph: members of the lower side come in one after the other, each by the
    cheapest augmenting path in terms of the duals (Edmonds and Karp 1972, doi:10.1145/321694.321699), found by
    Dijkstra's search, which ends as soon as it costs more than leaving someone out. Time and memory grow with the
    pairs, where groups that pairs connect are small or weights differ.

    Parameters
    ----------
    lower, upper
        (n,) int64, not negative: members of each pair; sorted by `lower`, no pair twice. Memory grows with the largest
        number less the smallest, on each side.
    weights
        (n,) float64, above 0.

    Returns
    -------
    ndarray
        (m,) int64, ascending: places of the chosen pairs. Where several choices have the largest total, the order of
        the pairs decides among them, the same on every run.

    Raises
    ------
    TableError
        The arrays differ in length, `lower` falls, or a weight is not above 0.
    """
    if not (lower.shape == upper.shape == weights.shape) or (np.diff(lower) < 0).any() or not (weights > 0).all():
        raise TableError(
            "pairs to be matched are out of order, or have no positive weight",
            "three arrays of one length, sorted by the lower member, with weights above 0",
            "Sort the pairs and leave out those without weight.",
        )
    if not lower.size:
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.diff(lower, prepend=lower[0] - 1))
    starts = np.append(first, lower.size)
    columns = upper - upper.min()
    pair_of_row = _match(starts, columns, np.ascontiguousarray(weights), int(columns.max()) + 1)
    chosen: Rows = pair_of_row[pair_of_row != _NONE]
    return chosen


@jit
def _match(starts: Rows, columns: Rows, weights: Weights, n_columns: int) -> Rows:
    """Return the pair chosen for each row, -1 for none; rows are runs of pairs that begin at `starts`."""
    n_rows = starts.size - 1
    row_of_pair = np.empty(columns.size, np.int64)
    for row in range(n_rows):
        row_of_pair[starts[row] : starts[row + 1]] = row
    row_price = np.zeros(n_rows)
    column_price = np.zeros(n_columns)
    pair_of_row = np.full(n_rows, _NONE, np.int64)
    row_of_column = np.full(n_columns, _NONE, np.int64)
    distance = np.empty(n_columns)
    reached_by = np.empty(n_columns, np.int64)
    seen = np.full(n_columns, _NONE, np.int64)
    for row in range(n_rows):
        price, at = 0.0, _NONE
        for pair in range(starts[row], starts[row + 1]):
            gain = weights[pair] - column_price[columns[pair]]
            if gain > price:
                price, at = gain, pair
        if at == _NONE:
            continue
        row_price[row] = price
        if row_of_column[columns[at]] == _NONE:
            pair_of_row[row] = at
            row_of_column[columns[at]] = row
            continue
        end, given_up = _search(
            row,
            (starts, columns, weights),
            (row_price, column_price),
            row_of_column,
            (distance, reached_by, seen),
        )
        if given_up != _NONE:
            pair_of_row[given_up] = _NONE
        # From the free end back to the row that came in: each takes the pair by which the search went on.
        while end != _NONE:
            pair = reached_by[end]
            freed = pair_of_row[row_of_pair[pair]]
            pair_of_row[row_of_pair[pair]] = pair
            row_of_column[end] = row_of_pair[pair]
            end = np.int64(_NONE) if row_of_pair[pair] == row else columns[freed]
    return pair_of_row


@jit
def _search(
    row: int,
    graph: tuple[Rows, Rows, Weights],
    prices: tuple[Weights, Weights],
    row_of_column: Rows,
    marks: tuple[Weights, Rows, Rows],
) -> tuple[np.int64, np.int64]:
    """Return where the cheapest way to take `row` in ends, and adjust the prices.

    It ends at a column, which is free (then the second number is -1) or is given up by the row that is the second
    number; or `row` itself stays out: then the column is -1.
    """
    starts, columns, weights = graph
    row_price, column_price = prices
    distance, reached_by, seen = marks
    least, end, given_up = row_price[row], np.int64(_NONE), np.int64(row)
    heap = [(0.0, np.int64(0)) for _ in range(0)]
    settled = [np.int64(0) for _ in range(0)]
    here, so_far = np.int64(row), 0.0
    while here != _NONE:
        for pair in range(starts[here], starts[here + 1]):
            column = columns[pair]
            cost = so_far + max(row_price[here] + column_price[column] - weights[pair], 0.0)
            if cost < least and (seen[column] != row or cost < distance[column]):
                seen[column] = row
                distance[column] = cost
                reached_by[column] = pair
                heapq.heappush(heap, (cost, column))
        here = np.int64(_NONE)
        while len(heap) > 0:
            so_far, nearest = heapq.heappop(heap)
            if so_far > distance[nearest]:  # a cheaper way to it was found since
                continue
            if so_far < least and row_of_column[nearest] == _NONE:
                least, end, given_up = so_far, nearest, np.int64(_NONE)
            elif so_far < least:
                here = row_of_column[nearest]
                settled.append(nearest)
                if so_far + row_price[here] < least:
                    least, end, given_up = so_far + row_price[here], nearest, here
            break
    row_price[row] -= least
    for column in settled:
        if distance[column] < least:
            column_price[column] += least - distance[column]
            row_price[row_of_column[column]] -= least - distance[column]
    return end, given_up
