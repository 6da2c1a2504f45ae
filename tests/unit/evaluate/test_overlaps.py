"""Overlaps of two labellings, whole and block by block."""

from dataclasses import astuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Labels
from cohortseg.evaluate.overlaps import Overlaps, find_overlaps, join_overlaps

PLANES = hnp.arrays(np.uint32, (9, 11), elements=st.sampled_from([0, 1, 2, 7, 2**32 - 1]))


def assert_same(found: Overlaps, expected: Overlaps) -> None:
    for one, other in zip(astuple(found), astuple(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_cells_and_pairs_are_counted() -> None:
    truth = np.array([[5, 5, 5, 0], [0, 9, 9, 0]], np.uint32)
    predicted = np.array([[0, 3, 3, 0], [0, 3, 8, 8]], np.uint32)
    found = find_overlaps(truth, predicted)
    assert (found.true_ids.tolist(), found.true_px.tolist()) == ([5, 9], [3, 2])
    assert (found.predicted_ids.tolist(), found.predicted_px.tolist()) == ([3, 8], [3, 2])
    assert list(zip(found.rows, found.columns, found.common_px, strict=True)) == [(0, 0, 2), (1, 0, 1), (1, 1, 1)]
    assert found.iou.tolist() == [2 / 4, 1 / 4, 1 / 3]


@given(PLANES, PLANES, st.integers(1, 8), st.integers(1, 10))
def test_blocks_joined_give_the_overlaps_of_the_whole(truth: Labels, predicted: Labels, y: int, x: int) -> None:
    rows, columns = (slice(0, y), slice(y, None)), (slice(0, x), slice(x, None))
    parts = [find_overlaps(truth[r, c], predicted[r, c]) for r in rows for c in columns]
    assert_same(join_overlaps(parts), find_overlaps(truth, predicted))


@given(PLANES, PLANES, st.sets(st.sampled_from([1, 2, 7])), st.sets(st.sampled_from([1, 2, 7])))
def test_cells_taken_out_leave_the_overlaps_of_images_without_them(
    truth: Labels, predicted: Labels, true_gone: set[int], predicted_gone: set[int]
) -> None:
    gone = np.array(sorted(true_gone), np.uint32), np.array(sorted(predicted_gone), np.uint32)
    left = find_overlaps(truth, predicted).without(*gone)
    kept = np.where(np.isin(truth, gone[0]), 0, truth), np.where(np.isin(predicted, gone[1]), 0, predicted)
    assert_same(left, find_overlaps(kept[0].astype(np.uint32), kept[1].astype(np.uint32)))
