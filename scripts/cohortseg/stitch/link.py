"""Links between the cells of neighbouring planes: which cell goes on as which."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.errors import StackError
from cohortseg.stitch.overlap import BLOCK_PX, Plane, stack_overlaps


def link_planes(planes: Sequence[Plane], *, iou_threshold: float, workers: int) -> pd.DataFrame:
    """Give the cells of a stack's planes one id across planes.

    Each cell takes the cell of the next plane that it has the highest intersection over union with; where that
    is below `iou_threshold`, the object ends. A cell that several want goes to the one with the highest IoU, and
    the others end: links are one to one, and an object has at most one cell in a plane. Ties go to the smaller
    id. The rule is that of Turing Segment's published documentation; `cellpose.utils.stitch3D` (4.2) differs in
    ties alone.

    Parameters
    ----------
    planes
        In any order, at least one; planes without cells are allowed and end every object.
    iou_threshold
        Above 0, at most 1.
    workers
        Threads that read and compare blocks of the planes; 0 uses the caller's alone. The result is the same.

    Returns
    -------
    DataFrame
        One row a cell and plane, sorted by `z_index`, then `plane_cell_id` (both int64): `cell_id` (int64, from
        1, numbered by the object's first plane and its `plane_cell_id` there), `iou` (float64) with the object's
        cell in the plane before, NaN in its first.

    Raises
    ------
    StackError
        There are no planes, two have one z_index, or their shapes differ.
    """
    ordered = _ordered(planes)
    overlaps = stack_overlaps(ordered, block_px=BLOCK_PX, workers=workers)
    linked = [_one_to_one(table, iou_threshold) for table in overlaps]
    n_objects = 0
    parts = []
    below = ordered[0]
    ids = np.zeros(0, np.int64)
    for plane, links in zip(ordered, [_NO_LINKS, *linked], strict=True):
        above_ids = np.zeros(plane.cell_ids.size, np.int64)
        iou = np.full(plane.cell_ids.size, np.nan)
        rows = np.searchsorted(plane.cell_ids, links["upper_id"])
        above_ids[rows] = ids[np.searchsorted(below.cell_ids, links["lower_id"])]
        iou[rows] = links["iou"]
        new = np.flatnonzero(above_ids == 0)
        above_ids[new] = np.arange(n_objects + 1, n_objects + 1 + new.size)
        n_objects += new.size
        parts.append(_rows(plane, above_ids, iou))
        below, ids = plane, above_ids
    return pd.concat(parts, ignore_index=True)


_NO_LINKS = pd.DataFrame({"lower_id": np.zeros(0, np.int64), "upper_id": np.zeros(0, np.int64), "iou": np.zeros(0)})


def _rows(plane: Plane, cell_ids: NDArray[np.int64], iou: NDArray[np.float64]) -> pd.DataFrame:
    z_index = np.full(cell_ids.size, plane.z_index, np.int64)
    return pd.DataFrame({"z_index": z_index, "plane_cell_id": plane.cell_ids, "cell_id": cell_ids, "iou": iou})


def _one_to_one(overlaps: pd.DataFrame, iou_threshold: float) -> pd.DataFrame:
    """Return the overlaps that become links: the best of each lower cell, then the best of each upper cell."""
    good = overlaps[overlaps["iou"] >= iou_threshold]
    wanted = good.sort_values(["lower_id", "iou", "upper_id"], ascending=[True, False, True])
    wanted = wanted.drop_duplicates("lower_id")
    won = wanted.sort_values(["upper_id", "iou", "lower_id"], ascending=[True, False, True])
    return won.drop_duplicates("upper_id")


def _ordered(planes: Sequence[Plane]) -> list[Plane]:
    """Return the planes by z_index, after checking that they make one stack."""
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
