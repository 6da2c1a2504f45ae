"""Predicted cells matched one to one with true cells, and the scores that follow from the number of matches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from cohortseg.arrays import Labels
from cohortseg.errors import SettingsError
from cohortseg.evaluate.overlaps import Overlaps, find_overlaps


@dataclass(frozen=True)
class APResult:
    """Counts and scores at each IoU threshold, in the order of `thresholds`; every array has shape (n,).

    Where there are neither true nor predicted cells, every score is 1; else a score without matches is 0.
    """

    thresholds: NDArray[np.float64]
    """Smallest intersection over union of a match."""

    ap: NDArray[np.float64]
    """Average precision, TP / (TP + FP + FN)."""

    f1: NDArray[np.float64]
    """2 TP / (2 TP + FP + FN)."""

    precision: NDArray[np.float64]
    """TP / (TP + FP)."""

    recall: NDArray[np.float64]
    """TP / (TP + FN)."""

    tp: NDArray[np.int64]
    """True positives: matched pairs."""

    fp: NDArray[np.int64]
    """False positives: predicted cells without a match."""

    fn: NDArray[np.int64]
    """False negatives: true cells without a match."""


def average_precision(truth: Labels, predicted: Labels, thresholds: Sequence[float]) -> APResult:
    """Score predicted cells against true ones.

    Two cells may match where their intersection over union reaches the threshold, and as many pairs as possible
    are matched one to one. These are the counts of `cellpose.metrics.average_precision` (4.2; Stringer et al.
    2021, Nature Methods 18:100, from StarDist's matching), whose dense assignment also finds the most pairs.

    Parameters
    ----------
    truth, predicted
        uint32 of one shape, (y, x) or (z, y, x); 0 is background, values need not be consecutive.
    thresholds
        Above 0, at most 1.

    Raises
    ------
    ImageError
        The arrays differ in shape or are not uint32.
    SettingsError
        A threshold is out of range.
    """
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise SettingsError(
                f"the IoU threshold {threshold}", "expected above 0, at most 1", "Use thresholds such as 0.5 and 0.75."
            )
    overlaps = find_overlaps(truth, predicted)
    tp = [match_cells(overlaps, threshold).size for threshold in thresholds]
    return score_counts(thresholds, tp, overlaps.true_ids.size, overlaps.predicted_ids.size)


def match_cells(overlaps: Overlaps, threshold: float) -> NDArray[np.int64]:
    """Match cells one to one: as many pairs as possible and, of such matchings, one with the largest sum of IoU.

    This is the assignment of StarDist's matching (Schmidt et al. 2018, MICCAI) and of the NeurIPS 2022 challenge, cost
    -(IoU >= t) - IoU / (2 n_min), solved for each connected group of pairs by itself rather than as one dense
    matrix of all cells. From a threshold of 0.5 a group has three cells at most, so that memory grows with the cells.

    Returns
    -------
    (n,) indices of the matched pairs of `overlaps`, all of which reach the threshold; rising.
    """
    iou = overlaps.iou
    allowed = np.flatnonzero(iou >= threshold)
    n_true = overlaps.true_ids.size
    n_cells = n_true + overlaps.predicted_ids.size
    ends = overlaps.rows[allowed], n_true + overlaps.columns[allowed]
    graph = csr_array((np.ones(allowed.size, np.uint8), ends), shape=(n_cells, n_cells))
    group = connected_components(graph, directed=False)[1][ends[0]]
    contested = np.bincount(group)[group] > 1 if group.size else np.zeros(0, np.bool_)
    matched = [allowed[~contested]]
    order = np.argsort(group[contested], kind="stable")
    pairs = allowed[contested][order]
    starts = np.flatnonzero(np.diff(group[contested][order])) + 1
    matched += [_assign(overlaps, members, iou[members]) for members in np.split(pairs, starts) if members.size]
    return np.sort(np.concatenate(matched))


def _assign(overlaps: Overlaps, pairs: NDArray[np.int64], iou: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the best one-to-one choice among the pairs of one connected group."""
    rows, row = np.unique(overlaps.rows[pairs], return_inverse=True)
    columns, column = np.unique(overlaps.columns[pairs], return_inverse=True)
    gain = np.zeros((rows.size, columns.size))
    gain[row, column] = 1 + iou / (2 * min(gain.shape))
    taken = np.zeros(gain.shape, np.bool_)
    taken[linear_sum_assignment(gain, maximize=True)] = True
    return pairs[taken[row, column]]


def score_counts(thresholds: Sequence[float], tp: Sequence[int], n_true: int, n_predicted: int) -> APResult:
    """Return the scores that follow from the number of matches at each threshold and the number of cells."""
    matches = np.array(tp, np.int64)
    fp, fn = n_predicted - matches, n_true - matches
    empty = n_true + n_predicted == 0
    return APResult(
        np.array(thresholds, np.float64),
        ap=_ratio(matches, matches + fp + fn, empty),
        f1=_ratio(2 * matches, 2 * matches + fp + fn, empty),
        precision=_ratio(matches, matches + fp, empty),
        recall=_ratio(matches, matches + fn, empty),
        tp=matches,
        fp=fp,
        fn=fn,
    )


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64], empty: bool) -> NDArray[np.float64]:
    return np.ones(part.size) if empty else part / np.maximum(whole, 1)
