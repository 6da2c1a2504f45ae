"""What is counted of predicted and true cells: numbers that add up over images, and the scores that follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from cohortseg.errors import TableError
from cohortseg.evaluate.matching import match_cells, score_counts
from cohortseg.evaluate.neurips import InnerCounts
from cohortseg.evaluate.overlaps import Overlaps

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Intersections over union at which cells are matched."""


@dataclass(frozen=True)
class Counts:
    """Counts of one image, or, added up, of several; scores of the sum are those of all images as one.

    `tp` has one entry for each of `THRESHOLDS`; `matched_iou` is the sum over the pairs that match at 0.5; the three
    `inner` counts are those of the NeurIPS 2022 challenge (`evaluate.neurips`); `_px` are pixels of cells.
    """

    tp: tuple[int, ...]
    n_true: int
    n_predicted: int
    matched_iou: float
    true_px: int
    predicted_px: int
    common_px: int
    splits: int
    merges: int
    inner_tp: int
    inner_true: int
    inner_predicted: int

    @classmethod
    def of(cls, overlaps: Overlaps, inner: InnerCounts) -> Self:
        """Count what one image's overlaps show.

        A true cell is split where two or more predicted cells lie in it by more than half of their areas each. A
        predicted cell merges where it holds more than half of each of two or more true cells: the split operations of
        Matula et al. 2015 (PLoS ONE 10:e0144959, the Cell Tracking Challenge); splits are the same with the roles
        exchanged. By more than half a cell lies in one other at most, so that there are no ties; a cell that lies in
        two by exact halves is in neither. Small pieces count like large ones.
        """
        matches = [match_cells(overlaps, threshold) for threshold in THRESHOLDS]
        twice_px = 2 * overlaps.common_px
        lies_in_true = twice_px > overlaps.predicted_px[overlaps.columns]
        lies_in_predicted = twice_px > overlaps.true_px[overlaps.rows]
        return cls(
            tp=tuple(matched.size for matched in matches),
            n_true=overlaps.true_ids.size,
            n_predicted=overlaps.predicted_ids.size,
            matched_iou=float(overlaps.iou[matches[0]].sum()),
            true_px=int(overlaps.true_px.sum()),
            predicted_px=int(overlaps.predicted_px.sum()),
            common_px=int(overlaps.common_px.sum()),
            splits=int((np.bincount(overlaps.rows[lies_in_true]) > 1).sum()),
            merges=int((np.bincount(overlaps.columns[lies_in_predicted]) > 1).sum()),
            inner_tp=inner.tp,
            inner_true=inner.n_true,
            inner_predicted=inner.n_predicted,
        )

    @classmethod
    def read(cls, evaluation: Mapping[str, Any]) -> Self:
        """Return the counts that `evaluation.json` holds; TableError where it holds others."""
        missing = [field.name for field in fields(cls) if field.name not in evaluation]
        if missing:
            raise TableError(
                f"an evaluation lacks {', '.join(missing)}",
                "one that this version of cohortseg wrote was expected",
                "Run the rule evaluate again.",
            )
        counts = {field.name: evaluation[field.name] for field in fields(cls)}
        return cls(**counts | {"tp": tuple(counts["tp"])})

    @classmethod
    def total(cls, parts: Sequence["Counts"]) -> "Counts":
        """Return the counts of at least one image added up."""
        sums = {field.name: sum(getattr(part, field.name) for part in parts) for field in fields(cls)[1:]}
        return cls(tp=tuple(np.sum([part.tp for part in parts], axis=0).tolist()), **sums)

    def scores(self) -> dict[str, Any]:
        """Return the scores that follow, by name; lists have an entry for each of `THRESHOLDS`.

        Where there are neither true nor predicted cells a score is 1, and without a match it is else 0; `f1_neurips`
        alone is the challenge's own number, 0 without a match even there. NaN are `mean_matched_iou` where nothing
        matches and `count_error_relative` where there are no true cells. `ap_mean` is the mean over the thresholds.
        """
        matched = score_counts(THRESHOLDS, self.tp, self.n_true, self.n_predicted)
        inner = score_counts((0.5,), (self.inner_tp,), self.inner_true, self.inner_predicted)
        error = self.n_predicted - self.n_true
        both_px = self.true_px + self.predicted_px
        return {
            "ap": matched.ap.tolist(),
            "f1": matched.f1.tolist(),
            "precision": matched.precision.tolist(),
            "recall": matched.recall.tolist(),
            "fp": matched.fp.tolist(),
            "fn": matched.fn.tolist(),
            "ap_mean": float(matched.ap.mean()),
            "f1_neurips": float(inner.f1[0]) if self.inner_tp else 0.0,
            "f1_neurips_empty_is_1": float(inner.f1[0]),
            "dice": 2 * self.common_px / both_px if both_px else 1.0,
            "mean_matched_iou": self.matched_iou / self.tp[0] if self.tp[0] else float("nan"),
            "count_error": error,
            "count_error_relative": error / self.n_true if self.n_true else float("nan"),
        }
