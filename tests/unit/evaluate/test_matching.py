"""Matching against a dense assignment, average precision against cellpose's own."""

import numpy as np
import pytest
from cellpose.metrics import average_precision as cellpose_average_precision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError, SettingsError
from cohortseg.evaluate import average_precision
from cohortseg.evaluate.matching import match_cells
from cohortseg.evaluate.overlaps import find_overlaps

THRESHOLDS = [0.1, 0.3, 0.5, 0.75, 1.0]


def blobs(rng: np.random.Generator) -> Labels:
    """Return 64 × 64 px of overlapping squares, 0 at the first pixel, as cellpose counts on some background."""
    labels = np.zeros((64, 64), np.uint32)
    for label in range(1, 30):
        y, x, side = *rng.integers(1, 60, 2), rng.integers(3, 14)
        labels[y : y + side, x : x + side] = label
    return labels


def assert_agrees(truth: Labels, predicted: Labels) -> None:
    result = average_precision(truth, predicted, THRESHOLDS)
    # Values that no pixel has make cellpose divide 0 by 0, which it then takes for no overlap.
    with np.errstate(invalid="ignore"):
        ap, tp, fp, fn = cellpose_average_precision(truth, predicted, THRESHOLDS)
    assert result.tp.tolist() == tp.tolist()
    assert result.fp.tolist() == fp.tolist()
    assert result.fn.tolist() == fn.tolist()
    np.testing.assert_allclose(result.ap, ap, rtol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_counts_and_scores_of_disturbed_cells_are_those_of_cellpose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = blobs(rng)
    predicted = np.roll(truth, rng.integers(-2, 3, 2), axis=(0, 1))
    predicted[:, :20] = blobs(rng)[:, :20]
    predicted[0] = 0
    assert_agrees(truth, predicted)


@settings(deadline=None)
@given(st.data(), hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=6))
def test_counts_of_any_labels_are_those_of_cellpose(data: st.DataObject, shape: tuple[int, ...]) -> None:
    truth, predicted = (data.draw(hnp.arrays(np.uint32, shape, elements=st.integers(0, 4))) for _ in range(2))
    first = (0,) * len(shape)
    truth[first] = predicted[first] = 0
    if truth.any() and predicted.any():
        assert_agrees(truth, predicted)


def test_a_cell_split_in_exact_halves_matches_one_of_them_once() -> None:
    truth = np.array([[1, 1, 1, 1, 0]], np.uint32)
    predicted = np.array([[1, 1, 2, 2, 0]], np.uint32)
    result = average_precision(truth, predicted, [0.5])
    assert (result.tp[0], result.fp[0], result.fn[0]) == (1, 1, 0)
    assert result.ap[0] == 0.5
    assert result.f1[0] == pytest.approx(2 / 3)


def test_labels_without_any_background_and_with_gaps_are_scored() -> None:
    truth = np.array([[7, 7], [2**32 - 1, 2**32 - 1]], np.uint32)
    result = average_precision(truth, np.array([[1, 1], [3, 3]], np.uint32), [0.5, 1])
    assert result.ap.tolist() == [1, 1]


def test_no_cells_where_none_are_is_perfect() -> None:
    empty = np.zeros((4, 4), np.uint32)
    result = average_precision(empty, empty, [0.5, 0.9])
    assert result.ap.tolist() == result.f1.tolist() == [1, 1]
    assert result.tp.tolist() == result.fp.tolist() == result.fn.tolist() == [0, 0]


@pytest.mark.parametrize("swap", [False, True])
def test_cells_against_none_score_zero(swap: bool) -> None:
    cells, empty = np.eye(3, dtype=np.uint32), np.zeros((3, 3), np.uint32)
    result = average_precision(empty, cells, [0.5]) if swap else average_precision(cells, empty, [0.5])
    assert (result.ap[0], result.f1[0], result.tp[0]) == (0, 0, 0)
    assert (result.fp[0], result.fn[0]) == ((1, 0) if swap else (0, 1))


def test_truth_of_another_size_is_refused() -> None:
    with pytest.raises(ImageError, match=r"shape \(4, 4\)"):
        average_precision(np.zeros((4, 4), np.uint32), np.zeros((4, 5), np.uint32), [0.5])


@pytest.mark.parametrize("threshold", [0, -1, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(SettingsError, match="IoU threshold"):
        average_precision(np.zeros((2, 2), np.uint32), np.zeros((2, 2), np.uint32), [threshold])


@settings(deadline=None)
@given(st.data(), st.sampled_from([0.1, 0.3, 0.5, 0.75]))
def test_the_matching_is_that_of_a_dense_assignment(data: st.DataObject, threshold: float) -> None:
    planes = hnp.arrays(np.uint32, (6, 7), elements=st.integers(0, 6))
    overlaps = find_overlaps(data.draw(planes), data.draw(planes))
    pairs = match_cells(overlaps, threshold)
    rows, columns, iou = overlaps.rows[pairs], overlaps.columns[pairs], overlaps.iou[pairs]
    assert len(set(rows)) == len(set(columns)) == pairs.size
    assert (iou >= threshold).all()
    dense = np.zeros((overlaps.true_ids.size, overlaps.predicted_ids.size))
    dense[overlaps.rows, overlaps.columns] = np.where(overlaps.iou >= threshold, overlaps.iou, 0)
    cost = -(dense >= threshold).astype(float) - dense / (2 * max(1, min(dense.shape)))
    best = dense[linear_sum_assignment(cost)]
    assert pairs.size == (best >= threshold).sum()
    assert iou.sum() == pytest.approx(best.sum())


def test_of_two_matchings_of_one_size_the_tighter_is_taken() -> None:
    # The true cell may match either prediction at 0.3; the second lies closer.
    overlaps = find_overlaps(np.array([[1] * 10], np.uint32), np.array([[1] * 4 + [2] * 6], np.uint32))
    assert overlaps.columns[match_cells(overlaps, 0.3)].tolist() == [1]


def test_precision_and_recall_tell_surplus_from_missing_cells() -> None:
    truth = np.array([[1, 0, 2, 0, 3, 0, 4]], np.uint32)
    predicted = np.array([[1, 0, 2, 5, 0, 6, 0]], np.uint32)
    result = average_precision(truth, predicted, [0.5])
    assert (result.precision[0], result.recall[0], result.f1[0]) == (0.5, 0.5, 0.5)
    assert average_precision(truth, np.where(predicted > 2, 0, predicted), [0.5]).precision[0] == 1
