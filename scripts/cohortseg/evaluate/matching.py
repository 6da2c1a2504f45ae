"""Average precision and F1 of predicted cells, matched one to one with true cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from cohortseg.arrays import Labels
from cohortseg.errors import SettingsError
from cohortseg.kernels.overlap import count_overlaps


@dataclass(frozen=True)
class APResult:
    """Counts and scores at each IoU threshold, in the order of `thresholds`; every array has shape (n,)."""

    thresholds: NDArray[np.float64]
    """Smallest intersection over union of a match."""

    ap: NDArray[np.float64]
    """Average precision, TP / (TP + FP + FN); 1 where there are neither true nor predicted cells."""

    f1: NDArray[np.float64]
    """2 TP / (2 TP + FP + FN); 1 where there are neither true nor predicted cells."""

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
    2021, Nature Methods 18:100, from StarDist's matching), whose dense assignment also finds the most pairs;
    here by Hopcroft and Karp's algorithm on the cells that do overlap, so that memory grows with the cells.

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
    pairs, overlap = count_overlaps(truth, predicted)
    true_ids, true_areas = _areas(truth)
    predicted_ids, predicted_areas = _areas(predicted)
    rows, columns = np.searchsorted(true_ids, pairs[:, 0]), np.searchsorted(predicted_ids, pairs[:, 1])
    iou = overlap / (true_areas[rows] + predicted_areas[columns] - overlap)
    shape = true_ids.size, predicted_ids.size
    tp = np.array([_most_matches(rows, columns, iou >= threshold, shape) for threshold in thresholds], np.int64)
    return _scores(np.array(thresholds, np.float64), tp, *shape)


def _areas(labels: Labels) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    pairs, areas = count_overlaps(labels, labels)
    return pairs[:, 0], areas


def _most_matches(
    rows: NDArray[np.int64], columns: NDArray[np.int64], allowed: NDArray[np.bool_], shape: tuple[int, int]
) -> int:
    """Return the size of the largest one-to-one matching among the allowed pairs."""
    if not allowed.any():
        return 0
    graph = csr_array((np.ones(allowed.sum(), np.uint8), (rows[allowed], columns[allowed])), shape=shape)
    return int((maximum_bipartite_matching(graph) >= 0).sum())


def _scores(thresholds: NDArray[np.float64], tp: NDArray[np.int64], n_true: int, n_predicted: int) -> APResult:
    fp, fn = n_predicted - tp, n_true - tp
    if n_true + n_predicted == 0:
        perfect = np.ones(tp.size)
        return APResult(thresholds, perfect, perfect.copy(), tp, fp, fn)
    return APResult(thresholds, tp / (tp + fp + fn), 2 * tp / (2 * tp + fp + fn), tp, fp, fn)
