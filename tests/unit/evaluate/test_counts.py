"""Counts of an image and the scores that follow, worked out by hand."""

import math
from collections.abc import Collection
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Labels
from cohortseg.errors import TableError
from cohortseg.evaluate import THRESHOLDS, Counts, average_precision, evaluate_image
from cohortseg.evaluate.neurips import ChallengeRule

CUT, WHOLE = ChallengeRule(roi_px=4, whole_below_px=1), ChallengeRule()


def counts_of(truth: Labels, predicted: Labels, rule: ChallengeRule = CUT, left_out: Collection[int] = ()) -> Counts:
    read_truth, read_predicted = (lambda box, labels=labels: labels[box.slices] for labels in (truth, predicted))
    return evaluate_image(read_truth, read_predicted, truth.shape, rule, left_out=sorted(left_out))


def row(text: str) -> Labels:
    """Return one row of labels; a dot is background."""
    return np.array([[0 if letter == "." else int(letter) for letter in text]], np.uint32)


@pytest.mark.parametrize(
    ("truth", "predicted", "splits", "merges"),
    [
        ("1111....", "1122....", 1, 0),  # two pieces of one cell
        ("1111....", "1123....", 1, 0),  # three pieces: still one cell that is split
        ("111122..", "111122..", 0, 0),
        ("1111....", "11112...", 0, 0),  # a surplus cell beside it is none of its pieces
        ("1111....", ".122333.", 1, 0),  # 1 and 2 lie in it; 3 does not
        ("1122....", "1111....", 0, 1),
        ("11223344", "11115555", 0, 2),
        ("1122....", "1133....", 0, 0),
        ("11......", "1111....", 0, 0),  # too large, but of one true cell
        ("1111....", "1..222..", 0, 0),  # 2 lies in it by a third
        ("1111....", "1.2222..", 0, 0),  # by exactly half: in neither
        ("11112222", ".1333322", 0, 0),  # 3 holds half of each: it does not merge
        ("11112222", ".3333332", 0, 1),  # three quarters of each: it does
    ],
)
def test_splits_and_merges(truth: str, predicted: str, splits: int, merges: int) -> None:
    counts = counts_of(row(truth), row(predicted))
    assert (counts.splits, counts.merges) == (splits, merges)
    exchanged = counts_of(row(predicted), row(truth))
    assert (exchanged.splits, exchanged.merges) == (merges, splits)


def test_scores_by_hand() -> None:
    #                 IoU 3/4          IoU 1/3
    counts = counts_of(row("1111..22......"), row(".111...22..3.."))
    scores = counts.scores()
    assert counts.tp == (1,) * 6 + (0,) * 4  # 0.5 to 0.75
    assert (counts.n_true, counts.n_predicted) == (2, 3)
    assert scores["ap"][:6] == [1 / 4] * 6
    assert scores["ap_mean"] == pytest.approx(0.15)
    assert (scores["precision"][0], scores["recall"][0], scores["f1"][0]) == (1 / 3, 1 / 2, 2 / 5)
    assert (scores["fp"][0], scores["fn"][0], scores["fp"][9], scores["fn"][9]) == (2, 1, 3, 2)
    assert scores["mean_matched_iou"] == pytest.approx(3 / 4)
    assert scores["dice"] == pytest.approx(2 * 4 / (6 + 6))
    assert (scores["count_error"], scores["count_error_relative"]) == (1, 1 / 2)


def test_nothing_where_nothing_is_is_perfect() -> None:
    scores = counts_of(row("...."), row("....")).scores()
    for name in ("ap", "f1", "precision", "recall"):
        assert scores[name] == [1.0] * len(THRESHOLDS)
    assert (scores["dice"], scores["count_error"]) == (1, 0)
    assert math.isnan(scores["mean_matched_iou"])
    assert math.isnan(scores["count_error_relative"])


@pytest.mark.parametrize(("truth", "predicted", "error"), [("11.22", ".....", -2), (".....", "11.22", 2)])
def test_one_side_empty_scores_zero(truth: str, predicted: str, error: int) -> None:
    scores = counts_of(row(truth), row(predicted)).scores()
    for name in ("ap", "f1", "precision", "recall"):
        assert scores[name] == [0.0] * len(THRESHOLDS)
    assert (scores["dice"], scores["count_error"]) == (0, error)


PLANES = hnp.arrays(np.uint32, (9, 10), elements=st.integers(0, 5))


@settings(max_examples=30)
@given(PLANES, PLANES)
def test_cutting_an_image_changes_the_counts_of_the_challenge_only(truth: Labels, predicted: Labels) -> None:
    whole, cut = counts_of(truth, predicted, WHOLE), counts_of(truth, predicted)
    plain = [{k: v for k, v in asdict(each).items() if not k.startswith("inner")} for each in (whole, cut)]
    assert plain[0].pop("matched_iou") == pytest.approx(plain[1].pop("matched_iou"))
    assert plain[0] == plain[1]
    assert list(cut.tp) == average_precision(truth, predicted, THRESHOLDS).tp.tolist()


def test_images_add_up_to_one_with_the_cells_of_all() -> None:
    first, second = counts_of(row("11.22"), row("11.33")), counts_of(row("1.2.3"), row("1...."))
    total = Counts.total([first, second])
    assert (total.tp[0], total.n_true, total.n_predicted, total.true_px) == (3, 5, 3, 7)
    assert total.scores()["recall"][0] == pytest.approx(3 / 5)
    assert Counts.total([first]) == first


def test_counts_are_read_back_and_others_are_refused() -> None:
    counts = counts_of(row("11.22"), row("11.3."))
    stored = asdict(counts) | {"tp": list(counts.tp), "ap": [], "labels": "a.tif"}
    assert Counts.read(stored) == counts
    with pytest.raises(TableError, match=r"lacks n_true, .*Run the rule evaluate again"):
        Counts.read({"ap": [0.5], "tp": [1]})


@pytest.mark.parametrize(
    ("truth", "predicted", "n_true", "n_predicted", "tp"),
    [
        ("1111..2222", "1111..2222", 1, 1, 1),  # found, and not counted
        ("1111..2222", "1111......", 1, 1, 1),  # not missed
        ("1111..2222", "1111..2233", 1, 1, 1),  # in pieces
        ("1111..2222", "1111.22222", 1, 1, 1),  # four fifths of it lie there
        ("1111..2222", "1111222222", 1, 1, 1),  # four sixths
        ("1111..2222", "11113333..", 1, 2, 1),  # by exactly half: surplus
        ("1111.22...", "1111.22233", 1, 2, 1),  # 3 does not lie there
        ("11112222..", "11111222..", 1, 1, 1),  # the neighbour of a cell that is left out is matched as ever
        ("11112222..", "11111111..", 1, 1, 1),  # merged with it: matched at exactly 0.5, so it stays
        ("1112222...", "1111111...", 1, 0, 0),  # more than half of it is of the other: nothing found, nothing surplus
    ],
)
def test_cells_left_out_are_neither_missed_nor_surplus(
    truth: str, predicted: str, n_true: int, n_predicted: int, tp: int
) -> None:
    counts = counts_of(row(truth), row(predicted), left_out=[2])
    assert (counts.n_true, counts.n_predicted, counts.tp[0]) == (n_true, n_predicted, tp)


def test_a_cell_found_in_two_that_are_left_out_is_left_out_with_them() -> None:
    counts = counts_of(row("112233"), row("1.5555"), left_out=[2, 3])
    assert (counts.n_true, counts.n_predicted, counts.tp[0], counts.merges) == (1, 1, 1, 0)


@settings(max_examples=60)
@given(PLANES, PLANES, st.sets(st.integers(1, 6)))
def test_counts_are_those_of_images_without_the_cells_left_out(
    truth: Labels, predicted: Labels, left_out: set[int]
) -> None:
    """All counts are of the plain images without them, and COCO's order, to match first, finds the same."""
    gone = np.isin(truth, list(left_out))
    kept_true = np.where(gone, 0, truth).astype(np.uint32)
    inside = [i for i in np.unique(predicted) if i and 2 * gone[predicted == i].sum() > (predicted == i).sum()]
    kept_predicted = np.where(np.isin(predicted, inside), 0, predicted).astype(np.uint32)
    found = counts_of(truth, predicted, WHOLE, left_out)
    assert found == counts_of(kept_true, kept_predicted, WHOLE)
    matched_first = average_precision(kept_true, predicted, THRESHOLDS)
    assert list(found.tp) == matched_first.tp.tolist()
    assert matched_first.fp.tolist() == [found.n_predicted - tp + len(inside) for tp in found.tp]


@settings(max_examples=30)
@given(PLANES, PLANES, st.sets(st.integers(1, 6)))
def test_cells_are_left_out_alike_however_an_image_is_cut(truth: Labels, predicted: Labels, left_out: set[int]) -> None:
    whole, cut = (counts_of(truth, predicted, rule, left_out) for rule in (WHOLE, CUT))
    plain = [{k: v for k, v in asdict(each).items() if not k.startswith("inner")} for each in (whole, cut)]
    assert plain[0].pop("matched_iou") == pytest.approx(plain[1].pop("matched_iou"))
    assert plain[0] == plain[1]
