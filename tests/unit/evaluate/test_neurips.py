"""The F1 of the NeurIPS 2022 challenge, against a dense reading of its definition."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from cohortseg.arrays import Box, Labels
from cohortseg.evaluate import Counts, evaluate_image
from cohortseg.evaluate.neurips import CHALLENGE, ChallengeRule


def dense_f1(truth: Labels, predicted: Labels, roi_px: int | None) -> float:
    """Return the challenge's F1 of small images, cut into zero-padded squares of `roi_px` if it is given."""
    side = roi_px or max(truth.shape)
    pads = [(0, -length % side if roi_px else 0) for length in truth.shape]
    tp = n_true = n_predicted = 0
    padded = np.pad(truth, pads), np.pad(predicted, pads)
    for y in range(0, padded[0].shape[0], side):
        for x in range(0, padded[0].shape[1], side):
            regions = [whole[y : y + side, x : x + side].copy() for whole in padded]
            for region in regions:
                inside = np.zeros(region.shape, bool)
                inside[2:-2, 2:-2] = True
                region[np.isin(region, region[~inside])] = 0
            masks = [[region == label for label in np.unique(region[region > 0])] for region in regions]
            iou = np.array([[(t & p).sum() / (t | p).sum() for p in masks[1]] for t in masks[0]])
            n_true, n_predicted = n_true + len(masks[0]), n_predicted + len(masks[1])
            if iou.size:
                cost = -(iou >= 0.5).astype(float) - iou / (2 * min(iou.shape))
                tp += (iou[linear_sum_assignment(cost)] >= 0.5).sum()
    if tp == 0:
        return 0.0
    precision, recall = tp / n_predicted, tp / n_true
    return float(2 * precision * recall / (precision + recall))


def counts_of(truth: Labels, predicted: Labels, rule: ChallengeRule = CHALLENGE) -> Counts:
    def read(image: Labels) -> Callable[[Box], Labels]:
        return lambda box: image[box.slices]

    return evaluate_image(read(truth), read(predicted), truth.shape, rule)


def cells(*boxes: Box, shape: tuple[int, int] = (20, 30)) -> Labels:
    """Return rectangles, numbered from 1."""
    labels = np.zeros(shape, np.uint32)
    for label, box in enumerate(boxes, start=1):
        labels[box.slices] = label
    return labels


INNER, OTHER = Box(5, 5, 9, 9), Box(5, 15, 9, 19)


@pytest.mark.parametrize(
    ("edge", "counted"),
    [
        (Box(2, 2, 5, 5), True),
        (Box(1, 5, 4, 9), False),
        (Box(5, 1, 9, 4), False),
        (Box(15, 5, 18, 9), True),
        (Box(15, 5, 19, 9), False),
        (Box(5, 24, 9, 28), True),
        (Box(5, 25, 9, 29), False),
    ],
)
def test_cells_in_the_outer_two_pixels_do_not_count(edge: Box, counted: bool) -> None:
    labels = cells(OTHER, edge)
    assert counts_of(labels, labels).inner_true == 1 + counted


def test_a_surplus_cell_on_the_border_costs_nothing_there() -> None:
    truth, predicted = cells(INNER), cells(INNER, Box(0, 20, 4, 24))
    scores = counts_of(truth, predicted).scores()
    assert scores["f1_neurips"] == 1
    assert scores["f1"][0] == pytest.approx(2 / 3)


def test_a_true_cell_whose_prediction_touches_the_border_is_missed() -> None:
    counts = counts_of(cells(Box(2, 5, 12, 9), OTHER), cells(Box(1, 5, 12, 9), OTHER))
    assert (counts.inner_tp, counts.inner_true, counts.inner_predicted) == (1, 2, 1)
    assert counts.tp[0] == 2


def test_nothing_to_find_and_nothing_found_is_0_to_the_challenge_and_1_beside_it() -> None:
    for labels in (cells(), cells(Box(0, 0, 4, 4))):
        scores = counts_of(labels, labels).scores()
        assert (scores["f1_neurips"], scores["f1_neurips_empty_is_1"]) == (0, 1)


@pytest.mark.parametrize("swap", [False, True])
def test_cells_against_none_are_0_to_both(swap: bool) -> None:
    pair = (cells(), cells(INNER)) if swap else (cells(INNER), cells())
    scores = counts_of(*pair).scores()
    assert (scores["f1_neurips"], scores["f1_neurips_empty_is_1"]) == (0, 0)


def test_a_large_image_is_cut_and_cells_on_the_cuts_do_not_count() -> None:
    rule = ChallengeRule(roi_px=16, whole_below_px=100)
    labels = cells(Box(4, 4, 8, 8), Box(4, 14, 8, 19), Box(12, 22, 15, 26), Box(4, 25, 8, 29))
    # The second spans the cut at x = 16, the third touches the last rows before that at y = 16. The fourth is near the
    # image's end, which lies inside the last square.
    counts = counts_of(labels, labels, rule)
    assert (counts.inner_tp, counts.inner_true, counts.n_true, counts.tp[0]) == (2, 2, 4, 4)


def test_the_challenge_cuts_from_25_megapixels() -> None:
    assert CHALLENGE.regions((4999, 5000)) == [Box(0, 0, 4999, 5000)]
    assert CHALLENGE.regions((5000, 5000))[-1] == Box(4000, 4000, 6000, 6000)
    assert len(CHALLENGE.regions((5000, 5000))) == 9


BLOTCHES = hnp.arrays(np.uint32, (4, 5), elements=st.integers(0, 5))


@given(BLOTCHES, BLOTCHES, st.sampled_from([None, 6, 8]))
def test_any_labels_score_as_the_definition_says(coarse: Labels, other: Labels, roi_px: int | None) -> None:
    truth, predicted = (np.kron(each, np.ones((3, 3), np.uint32)) for each in (coarse, other))
    predicted[3:] = predicted[:-3].copy()
    rule = CHALLENGE if roi_px is None else ChallengeRule(roi_px=roi_px, whole_below_px=1)
    found = counts_of(truth, predicted, rule).scores()["f1_neurips"]
    assert found == pytest.approx(dense_f1(truth, predicted, roi_px))
