"""Overlaps of two planes, streamed by blocks."""

import numpy as np
import pytest

from cohortseg.arrays import Box, Labels
from cohortseg.errors import StackError
from cohortseg.stitch import Plane, plane_overlaps


def plane(z_index: int, labels: Labels) -> Plane:
    cell_ids, areas = np.unique(labels[labels > 0], return_counts=True)
    return Plane(z_index, labels.shape, cell_ids.astype(np.int64), areas, lambda box: labels[box.slices])


def squares(seed: int) -> Labels:
    rng = np.random.default_rng(seed)
    labels = np.zeros((50, 70), np.uint32)
    for label in rng.choice(1_000, 30, replace=False) + 1:
        y, x = rng.integers(0, (45, 65))
        labels[y : y + rng.integers(2, 12), x : x + rng.integers(2, 12)] = label
    return labels


@pytest.mark.parametrize("block_px", [1, 7, 64, 1_000])
def test_overlaps_and_iou_do_not_depend_on_the_blocks(block_px: int) -> None:
    below, above = squares(1), squares(2)
    table = plane_overlaps(plane(0, below), plane(1, above), block_px=block_px)
    expected = []
    for lower in np.unique(below[below > 0]):
        for upper in np.unique(above[(below == lower) & (above > 0)]):
            a, b = below == lower, above == upper
            expected.append((lower, upper, (a & b).sum(), (a & b).sum() / (a | b).sum()))
    assert len(expected) > 20
    assert list(table.itertuples(index=False, name=None)) == expected


def test_planes_without_common_pixels_have_no_overlaps() -> None:
    labels = np.zeros((9, 9), np.uint32)
    labels[:3] = 1
    table = plane_overlaps(plane(0, labels), plane(1, labels[::-1].copy()), block_px=4)
    assert len(table) == 0
    assert table.dtypes.astype(str).to_dict() == {
        "lower_id": "int64",
        "upper_id": "int64",
        "overlap_px": "int64",
        "iou": "float64",
    }


def test_a_plane_without_cells_is_never_read() -> None:
    def refuse(box: Box) -> Labels:
        raise AssertionError(f"read {box}")

    no_ids = np.zeros(0, np.int64)
    empty = Plane(1, (50, 70), no_ids, no_ids, refuse)
    assert len(plane_overlaps(plane(0, squares(1)), empty, block_px=16)) == 0
    assert len(plane_overlaps(empty, plane(0, squares(1)), block_px=16)) == 0


def test_pixels_of_a_cell_that_the_table_has_not_are_an_error() -> None:
    labels = squares(1)
    known = plane(3, labels)
    short = Plane(3, known.shape, known.cell_ids[1:], known.areas[1:], known.read)
    with pytest.raises(StackError, match=f"plane 3 has pixels of a cell {known.cell_ids[0]} "):
        plane_overlaps(short, known, block_px=64)
