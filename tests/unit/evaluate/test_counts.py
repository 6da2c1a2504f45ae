"""Counts of an image and the scores that follow, worked out by hand."""

import math
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

CUT = ChallengeRule(roi_px=4, whole_below_px=1)


def counts_of(truth: Labels, predicted: Labels, rule: ChallengeRule = CUT) -> Counts:
    return evaluate_image(lambda box: truth[box.slices], lambda box: predicted[box.slices], truth.shape, rule)


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
    whole, cut = counts_of(truth, predicted, ChallengeRule()), counts_of(truth, predicted)
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
