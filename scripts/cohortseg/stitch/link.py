"""Links between the cells of a stack's planes: which cell goes on as which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cohortseg.errors import StackError
from cohortseg.settings import StitchSettings
from cohortseg.stitch.assign import Rows, Rule, choose_best, choose_optimal
from cohortseg.tiling.stacks import pairs_of

__all__ = ["PlaneCells", "check_stack", "drop_short", "link_stack", "pairs_of"]

_RULES: Mapping[str, Rule] = {"best": choose_best, "optimal": choose_optimal}
_NONE = -1
_PART_ROWS = 1 << 20


@dataclass(frozen=True)
class PlaneCells:
    """The cells of one plane of a stack.

    Parameters
    ----------
    z_index
        Place in the stack's order.
    shape
        (y, x) of the plane, one for the whole stack.
    cell_ids
        (n,) int64: labels of the plane's cells, ascending, from 1.
    areas
        (n,) int64: pixels of each.
    """

    z_index: int
    shape: tuple[int, int]
    cell_ids: NDArray[np.int64]
    areas: NDArray[np.int64]

    def rows_of(self, labels: NDArray[np.int64]) -> Rows:
        """Return the place of each label among `cell_ids`, as a new array; StackError where one is not there."""
        n_cells = self.cell_ids.size
        if n_cells and self.cell_ids[0] == 1 and self.cell_ids[-1] == n_cells:
            rows = labels - 1
            known = (rows >= 0) & (rows < n_cells)
        else:
            rows = np.minimum(np.searchsorted(self.cell_ids, labels), max(n_cells - 1, 0))
            known = self.cell_ids[rows] == labels if n_cells else np.zeros(labels.size, bool)
        if not known.all():
            raise StackError(
                f"plane {self.z_index} overlaps with a cell {labels[~known][0]} that its table of cells has not",
                "overlaps and table come from one segmentation",
                "Stitch the stack again.",
            )
        return rows


def link_stack(
    planes: Sequence[PlaneCells], overlaps: Mapping[tuple[int, int], pd.DataFrame], settings: StitchSettings
) -> pd.DataFrame:
    """Give the cells of a stack's planes one id across planes.

    Two cells can be linked where their IoU reaches `iou_threshold`; each cell has at most one link down and one up.
    Pairs of planes are linked in the order of `pairs_of`: first neighbouring planes, then planes with more and more
    between them, up to `max_gap`, among the cells that still lack a link on that side. In each pair of planes
    `rule` chooses:

    - best: each lower cell takes the upper cell with the highest IoU; one that several want goes to the highest
      IoU, and the others stay without a link; ties go to the smaller id. The rule is that of Turing
      Segment's published documentation; `cellpose.utils.stitch3D` (4.2) differs in ties alone. It looks upwards: from
      above, a cell left without its first choice could be another one. Where no cell has two candidates
      above and below (always for thresholds over 0.5, IoU being unique there) it is the same in both directions.
    - optimal: the links with the largest total IoU in each group of connected cells; the same in both directions
      wherever that total is reached in one way only. Ties: see `match_pairs`.

    A cell without a link down that lies, by at least `split_share` of its area, within a cell of the neighbouring
    plane below which has a link up, is a split of that cell; one without a link up that lies so within a cell
    above which has a link down, merges into it. Of several such cells the one it shares most pixels with counts, of
    equal ones that with the smaller id. With `splits: join` both get one id, so that an object may have several cells
    in a plane.

    Parameters
    ----------
    planes
        In any order, at least one; planes without cells are allowed.
    overlaps
        By (lower, upper) z_index, for all `pairs_of` these planes: `lower_id`, `upper_id`, `overlap_px` (int64),
        `iou` (float64), sorted by `lower_id`, then `upper_id`. Each is read once.
    settings
        `min_planes` is not looked at here; see `drop_short`.

    Returns
    -------
    DataFrame
        One row a cell and plane, sorted by `z_index`, then `plane_cell_id` (both int64): `cell_id` (int64, from 1,
        numbered by the object's first plane and its smallest `plane_cell_id` there), `iou` (float64) with the cell
        that it is linked to below, NaN without one; `n_splits` and `n_merges` (int32), the cells of the plane above
        that split off, and of the plane below that merge into it.

    Raises
    ------
    StackError
        There are no planes, two have one z_index, their shapes differ, or an overlap is of a cell no plane has.
    """
    ordered = check_stack(planes)
    indices = [plane.z_index for plane in ordered]
    starts = np.cumsum([0, *(plane.cell_ids.size for plane in ordered)]).tolist()
    at = {z_index: place for place, z_index in enumerate(indices)}
    links = _Links(starts[-1])
    for lower_z, upper_z in pairs_of(indices, settings.max_gap, settings.max_step()):
        below, above = at[lower_z], at[upper_z]
        found = _Candidates.of(overlaps[lower_z, upper_z], ordered[below], ordered[above], settings)
        lower, upper = found.lower, found.upper
        lower += starts[below]
        upper += starts[above]
        links.add(lower, upper, found.iou, settings.iou_threshold, _RULES[settings.rule])
        if above == below + 1:
            links.note_fragments(lower, upper, found)
    return _table(ordered, links, starts, joined=settings.splits == "join")


def drop_short(links: pd.DataFrame, min_planes: int) -> tuple[pd.DataFrame, int]:
    """Leave out the objects in fewer than `min_planes` planes.

    Returns
    -------
    tuple
        The rows of the others, their `cell_id` renumbered without gaps in the same order, and how many objects
        were dropped.
    """
    ids = links["cell_id"].to_numpy()
    n_planes = count_planes(ids, links["z_index"].to_numpy())
    kept = n_planes >= min_planes
    if kept.all():
        return links, 0
    ids = np.where(kept, np.cumsum(kept), 0)[ids - 1]
    return links.assign(cell_id=ids)[ids > 0].reset_index(drop=True), int(kept.size - kept.sum())


def count_planes(ids: NDArray[np.int64], z_index: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the number of planes of each object, numbered from 1; rows of cells are sorted by `z_index`."""
    n_planes = np.zeros(int(ids.max(initial=0)) + 1, np.int32)
    for here in np.split(ids, np.flatnonzero(np.diff(z_index)) + 1):
        # an id that a plane has several times is counted once
        n_planes[here] += 1
    return n_planes[1:]


def check_stack(planes: Sequence[PlaneCells]) -> list[PlaneCells]:
    """Return the planes by z_index, after checking that they make one stack; StackError where not."""
    if not planes:
        raise StackError("the stack has no planes", "a stack has one plane at least", "Name its planes.")
    ordered = sorted(planes, key=lambda plane: plane.z_index)
    for below, above in pairwise(ordered):
        if below.z_index == above.z_index:
            raise StackError(
                f"two planes have z_index {below.z_index}",
                "each plane of a stack has its own z_index",
                "Number the planes in the order of the stack.",
            )
        if below.shape != above.shape:
            raise StackError(
                f"plane {below.z_index} is {below.shape[0]} × {below.shape[1]} px and plane {above.z_index} is "
                f"{above.shape[0]} × {above.shape[1]} px",
                "all planes of a stack have one shape",
                "Check that these images belong to one stack and were opened at one level.",
            )
    return ordered


class _Candidates(NamedTuple):
    """The overlaps of two planes that may become a link, a split or a merge: (n,) each, in the order of the table."""

    lower: Rows
    upper: Rows
    pixels: NDArray[np.int64]
    iou: NDArray[np.float64]
    within_lower: NDArray[np.bool_]
    within_upper: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pd.DataFrame, below: PlaneCells, above: PlaneCells, settings: StitchSettings) -> "_Candidates":
        """Look through a table of overlaps, a part at a time: most are of cells that only touch."""
        lower_id, upper_id, pixels, iou = (
            table[name].to_numpy() for name in ("lower_id", "upper_id", "overlap_px", "iou")
        )
        parts = []
        for start in range(0, max(len(table), 1), _PART_ROWS):
            part = slice(start, start + _PART_ROWS)
            lower, upper = below.rows_of(lower_id[part]), above.rows_of(upper_id[part])
            within_lower = pixels[part] >= settings.split_share * above.areas[upper]
            within_upper = pixels[part] >= settings.split_share * below.areas[lower]
            kept = within_lower | within_upper | (iou[part] >= settings.iou_threshold)
            columns = (lower, upper, pixels[part], iou[part], within_lower, within_upper)
            parts.append([column[kept] for column in columns])
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class _Links:
    """The links of a stack while they are made: cells are numbered through all planes, the lowest first."""

    def __init__(self, n_cells: int) -> None:
        self.below = np.full(n_cells, _NONE, np.int64)
        self.above = np.full(n_cells, _NONE, np.int64)
        self.iou = np.full(n_cells, np.nan)
        self._splits: list[Rows] = []
        self._merges: list[Rows] = []

    def add(self, lower: Rows, upper: Rows, iou: NDArray[np.float64], threshold: float, rule: Rule) -> None:
        """Link the cells of two planes that still lack a link on the side of the other plane."""
        candidates = np.flatnonzero(iou >= threshold)
        free = (self.above[lower[candidates]] == _NONE) & (self.below[upper[candidates]] == _NONE)
        candidates = candidates[free]
        chosen = candidates[rule(lower[candidates], upper[candidates], iou[candidates])]
        self.above[lower[chosen]] = upper[chosen]
        self.below[upper[chosen]] = lower[chosen]
        self.iou[upper[chosen]] = iou[chosen]

    def note_fragments(self, lower: Rows, upper: Rows, found: _Candidates) -> None:
        """Remember the pairs of neighbouring planes in which one cell lies within the other and is not linked yet."""
        loose = np.flatnonzero(found.within_lower | found.within_upper)
        loose = loose[(self.above[lower[loose]] == _NONE) | (self.below[upper[loose]] == _NONE)]
        lower, upper, pixels = lower[loose], upper[loose], found.pixels[loose]
        within_lower, within_upper = found.within_lower[loose], found.within_upper[loose]
        order = np.argsort(-pixels, kind="stable")
        for kept, within, cells, open_end in (
            (self._splits, within_lower, upper, self.below),
            (self._merges, within_upper, lower, self.above),
        ):
            places = order[(within & (open_end[cells] == _NONE))[order]]
            first = np.unique(cells[places], return_index=True)[1]
            kept.append(np.stack([lower[places[first]], upper[places[first]]], axis=1))

    def splits(self) -> Rows:
        """Return (n, 2) cells below and above of each split: the lower one has a link up, the upper none down."""
        found = np.concatenate([np.zeros((0, 2), np.int64), *self._splits])
        kept: Rows = found[(self.above[found[:, 0]] != _NONE) & (self.below[found[:, 1]] == _NONE)]
        return kept

    def merges(self) -> Rows:
        """Return (n, 2) cells below and above of each merge: the upper one has a link down, the lower none up."""
        found = np.concatenate([np.zeros((0, 2), np.int64), *self._merges])
        kept: Rows = found[(self.below[found[:, 1]] != _NONE) & (self.above[found[:, 0]] == _NONE)]
        return kept


def _table(ordered: Sequence[PlaneCells], links: _Links, starts: Sequence[int], *, joined: bool) -> pd.DataFrame:
    """Number the objects and return all cells with what is known of their links."""
    splits, merges = links.splits(), links.merges()
    ids = _number(links.below, starts)
    if joined:
        ids = _join(ids, np.concatenate([splits, merges]))
    n_cells = links.below.size
    sizes = np.diff(starts)
    return pd.DataFrame(
        {
            "z_index": np.repeat(np.array([plane.z_index for plane in ordered], np.int64), sizes),
            "plane_cell_id": np.concatenate([plane.cell_ids for plane in ordered]),
            "cell_id": ids,
            "iou": links.iou,
            "n_splits": np.bincount(splits[:, 0], minlength=n_cells).astype(np.int32),
            "n_merges": np.bincount(merges[:, 1], minlength=n_cells).astype(np.int32),
        },
        copy=False,
    )


def _number(below: Rows, starts: Sequence[int]) -> NDArray[np.int64]:
    """Return the object of each cell, from 1, numbered by its first cell; cells of a plane begin at its start."""
    ids = np.zeros(below.size, np.int64)
    n_objects = 0
    for start, end in pairwise(starts):
        linked = below[start:end] != _NONE
        here = ids[start:end]
        here[linked] = ids[below[start:end][linked]]
        n_new = int(here.size - np.count_nonzero(linked))
        here[~linked] = np.arange(n_objects + 1, n_objects + 1 + n_new)
        n_objects += n_new
    return ids


def _join(ids: NDArray[np.int64], joins: Rows) -> NDArray[np.int64]:
    """Return the ids with the objects of each two cells in `joins` made one, numbered by their first again."""
    size = int(ids.max(initial=0)) + 1
    ends = ids[joins]
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    # Objects are numbered by their first cell, so the smallest number of a group is that of its first; 0 is alone.
    first = np.unique(group, return_index=True)[1]
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    joined: NDArray[np.int64] = rank[group][ids]
    return joined
