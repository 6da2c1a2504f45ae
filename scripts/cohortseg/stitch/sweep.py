"""Overlaps of two planes, straight from their files of polygons: a sweep over bands of rows."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.errors import TableError
from cohortseg.kernels.sweep import Taken, sweep_band
from cohortseg.kernels.wkb import Runs, wkb_runs
from cohortseg.stores.memory import release_memory
from cohortseg.stores.wkb import Piece, WkbFile

_LOGGER = logging.getLogger("cohortseg")
BAND_ROWS = 1024
"""Rows of the planes that are compared at a time. No result depends on it."""
PIECE_ROWS = 8192
"""Cells that a thread reads at a time: many enough for the costs of a read, few enough for all threads to work."""
# Bands whose cells are read ahead of the one that is compared.
_BANDS_AHEAD = 2
# A covering column may be rounded to single precision.
_ROUNDING_PX = 1


class _Band(NamedTuple):
    """Rows that are compared at a time, and the pieces of both files that may have cells there."""

    first_row: int
    end_row: int
    pieces: tuple[list[int], list[int]]


class _Swept(NamedTuple):
    pairs: NDArray[np.uint32]
    counts: NDArray[np.int64]
    taken: tuple[Taken, Taken]


def sweep_overlaps(
    below: WkbFile,
    above: WkbFile,
    shape: tuple[int, int],
    *,
    workers: int,
    on_read: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Find the cells of two planes that share pixels.

    What is counted are the pixels of the label images that `shapes.rasterise` draws of the two files, without drawing
    them: a pixel belongs to the polygon that contains its centre, and where polygons of one file overlap, to the later
    one, which is warned of. Each geometry is read once. In memory are the cells of a few bands of rows where the
    files are in spatial order and have a covering column, as ours are; of other files, up to 12 bytes for each row of
    pixels of every cell.

    Parameters
    ----------
    below, above
        The planes' polygons; cells beyond `shape` are cut.
    shape
        (y, x) of both planes in pixels.
    workers
        Threads that read and compare; 0 is one. The result does not depend on it.
    on_read
        Called with the pixels of both planes in each band that is done, from the calling thread.

    Returns
    -------
    DataFrame
        `lower_id`, `upper_id`, `overlap_px` (int64) and `iou` (float64, intersection over union of the two cells'
        pixels), sorted by `lower_id`, then `upper_id`.

    Raises
    ------
    TableError
        A file is damaged, its `cell_id` are not whole numbers from 1, each once, a geometry is no (Multi)Polygon, or
        lies out of what its row group's covering column states.
    """
    planes = _Plane(below, shape), _Plane(above, shape)
    swept: list[_Swept] = []
    with ThreadPoolExecutor(max(workers, 1), "sweep") as pool:
        try:
            for band, result in _sweep_bands(planes, _bands(planes, shape), pool):
                swept.append(result)
                if on_read is not None:
                    on_read(2 * (band.end_row - band.first_row) * shape[1])
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    for number, plane in enumerate(planes):
        plane.lose([each.taken[number] for each in swept])
    table = _table(*planes, swept)
    release_memory()
    return table


class _Plane:
    """One plane while it is read: its file in pieces, and what is known of each row of the file."""

    def __init__(self, file: WkbFile, shape: tuple[int, int]) -> None:
        self._file, self._shape = file, shape
        self.pieces = file.pieces(PIECE_ROWS)
        self.cell_ids = np.zeros(file.n_rows, np.int64)
        self.areas = np.zeros(file.n_rows, np.int64)

    def rows_of(self, piece: Piece) -> tuple[int, int]:
        """Return the half-open rows of the image that a piece may have cells in."""
        height = self._shape[0]
        if piece.y_range is None:
            return 0, height
        top, bottom = math.floor(piece.y_range[0]) - _ROUNDING_PX, math.ceil(piece.y_range[1]) + _ROUNDING_PX
        return min(max(top, 0), height), min(max(bottom, 0), height)

    def read(self, piece: Piece) -> list[Runs]:
        """Return the runs of pixels of a piece, and note the ids and areas of its cells."""
        found = []
        first_row, end_row = self.rows_of(piece)
        for rows in self._file.read_piece(piece):
            here = slice(rows.first_row, rows.first_row + len(rows.cell_ids))
            try:
                runs, self.areas[here] = wkb_runs(rows.data, rows.offsets, rows.first_row, self._shape)
            except TableError as error:
                raise TableError(f"{self._file.path}: {error.found}", error.expected, error.remedy) from None
            self.cell_ids[here] = _checked(rows.cell_ids, self._file)
            if (
                runs.spans.size
                and not first_row <= runs.first_row <= runs.first_row + runs.row_starts.size - 1 <= end_row
            ):
                raise TableError(
                    f"{self._file.path} has cells out of the bounds that its covering column states",
                    "expected bounds of all cells of each row group, with holes within their outlines",
                    "Repair its polygons, and write the file again.",
                )
            found.append(runs)
        return found

    def lose(self, taken: Sequence[Taken]) -> None:
        """Take from the areas what later polygons took, and warn of it."""
        for each in taken:
            np.subtract.at(self.areas, each.cells, each.pixels)
        conflicts = sum(each.conflicts for each in taken)
        if conflicts:
            _LOGGER.warning("%s: polygons overlap on %d px; the later one has them", self._file.path, conflicts)

    def ranks_of(self, rows: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """Return where the ids of some rows come among all ids; TableError where one comes twice.

        Rows that lie out of the image were not read. They have id 0.
        """
        if (np.diff(self.cell_ids) > 0).all():
            return rows.astype(np.uint64)
        order = np.argsort(self.cell_ids, kind="stable")
        sorted_ids = self.cell_ids[order]
        repeated = (np.diff(sorted_ids) == 0) & (sorted_ids[1:] > 0)
        if repeated.any():
            raise _no_numbering(self._file, f"it has {sorted_ids[1:][repeated][0]} twice")
        ranks = np.empty(order.size, np.uint64)
        ranks[order] = np.arange(order.size, dtype=np.uint64)
        return ranks[rows]


def _checked(cell_ids: NDArray[np.generic], file: WkbFile) -> NDArray[np.int64]:
    if not np.issubdtype(cell_ids.dtype, np.integer):
        raise _no_numbering(file, f"they are {cell_ids.dtype}")
    ids = cell_ids.astype(np.int64)
    if ids.min(initial=1) < 1:
        raise _no_numbering(file, f"it has {ids.min()}")
    return ids


def _no_numbering(file: WkbFile, found: str) -> TableError:
    return TableError(
        f"the cell_id of {file.path} are not a numbering: {found}",
        "expected whole numbers from 1, each once",
        "Renumber the plane's cells.",
    )


def _bands(planes: tuple[_Plane, _Plane], shape: tuple[int, int]) -> list[_Band]:
    """Return the bands of an image from the top, with the pieces that each needs of both planes."""
    edges = [*range(0, shape[0], BAND_ROWS), shape[0]]
    bands = []
    for first, end in pairwise(edges):
        below, above = (
            [i for i, piece in enumerate(plane.pieces) if _meets(plane.rows_of(piece), first, end)] for plane in planes
        )
        bands.append(_Band(first, end, (below, above)))
    return bands


def _meets(rows: tuple[int, int], first: int, end: int) -> bool:
    return rows[0] < end and rows[1] > first


def _sweep_bands(
    planes: tuple[_Plane, _Plane], bands: Sequence[_Band], pool: ThreadPoolExecutor
) -> Iterator[tuple[_Band, _Swept]]:
    """Yield what each band gives, in order.

    A band waits, within a thread, for its pieces. They were submitted before it, so that they are done or under way.
    """
    read: tuple[dict[int, Future[list[Runs]]], ...] = ({}, {})
    waiting: deque[tuple[_Band, Future[_Swept]]] = deque()
    for band in bands:
        for plane, pieces, needed in zip(planes, read, band.pieces, strict=True):
            # The futures hold the runs: what no later band needs is forgotten here.
            for done in set(pieces) - set(needed):
                del pieces[done]
            for number in needed:
                if number not in pieces:
                    pieces[number] = pool.submit(plane.read, plane.pieces[number])
        needs = tuple([pieces[number] for number in needed] for pieces, needed in zip(read, band.pieces, strict=True))
        waiting.append((band, pool.submit(_sweep_band, band, needs[0], needs[1])))
        if len(waiting) > _BANDS_AHEAD:
            swept_band, swept = waiting.popleft()
            yield swept_band, swept.result()
    for swept_band, swept in waiting:
        yield swept_band, swept.result()


def _sweep_band(band: _Band, below: Sequence[Future[list[Runs]]], above: Sequence[Future[list[Runs]]]) -> _Swept:
    runs_below, runs_above = ([runs for piece in each for runs in piece.result()] for each in (below, above))
    pairs, counts, *taken = sweep_band(runs_below, runs_above, band.first_row, band.end_row)
    return _Swept(pairs, counts, (taken[0], taken[1]))


def _table(below: _Plane, above: _Plane, swept: Sequence[_Swept]) -> pd.DataFrame:
    """Add up the bands: a pair of cells that lie in several of them was counted in each."""
    pairs = np.concatenate([np.zeros((0, 2), np.uint32), *(each.pairs for each in swept)])
    # One 64-bit key a pair sorts several times faster than its two columns.
    keys = below.ranks_of(pairs[:, 0]) << np.uint64(32) | above.ranks_of(pairs[:, 1])
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    del keys
    rows_below, rows_above = pairs[order[starts]].T
    overlap = np.concatenate([np.zeros(0, np.int64), *(each.counts for each in swept)])[order]
    overlap = np.add.reduceat(overlap, starts) if starts.size else overlap
    union = below.areas[rows_below] + above.areas[rows_above] - overlap
    columns = {"lower_id": below.cell_ids[rows_below], "upper_id": above.cell_ids[rows_above]}
    return pd.DataFrame({**columns, "overlap_px": overlap, "iou": overlap / union})
