"""F1 as the NeurIPS 2022 cell segmentation challenge counts it: without the cells on the border.

Definition: Ma et al. 2024, Nature Methods 21:1103, and the challenge's published evaluation (`compute_metric.py`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.evaluate.matching import match_cells
from cohortseg.evaluate.overlaps import Overlaps

_THRESHOLD = 0.5


@dataclass(frozen=True)
class ChallengeRule:
    """What the challenge looks at together.

    An image of fewer than `whole_below_px` pixels is one region of interest; a larger one is cut into squares of
    `roi_px`, the last ones reaching beyond the image. Cells with a pixel in the outer `border_px` of a region are
    removed from both labellings, those cut by the squares included.
    """

    roi_px: int = 2000
    whole_below_px: int = 25_000_000
    border_px: int = 2

    def is_whole(self, shape: tuple[int, int]) -> bool:
        """Return whether an image of this (y, x) shape is one region."""
        return shape[0] * shape[1] < self.whole_below_px

    def regions(self, shape: tuple[int, int]) -> list[Box]:
        """Return the regions of an image, row by row; those of a large image may reach beyond it."""
        if self.is_whole(shape):
            return [Box(0, 0, *shape)]
        rows, columns = (range(0, length, self.roi_px) for length in shape)
        return [Box(y, x, y + self.roi_px, x + self.roi_px) for y in rows for x in columns]


CHALLENGE = ChallengeRule()
"""The numbers of the challenge."""


@dataclass(frozen=True)
class InnerCounts:
    """Cells away from the border of their region, and how many of them match at an IoU of 0.5."""

    tp: int
    n_true: int
    n_predicted: int

    def __add__(self, other: "InnerCounts") -> "InnerCounts":
        """Return the counts of both together."""
        return InnerCounts(self.tp + other.tp, self.n_true + other.n_true, self.n_predicted + other.n_predicted)


def count_inner(
    truth: Labels, predicted: Labels, overlaps: Overlaps, region: tuple[int, int], border_px: int
) -> InnerCounts:
    """Count the cells of one region that keep off its border.

    Parameters
    ----------
    truth, predicted
        (y, x) uint32: the part of the region that lies in the image, from the region's first pixel on.
    overlaps
        Their overlaps.
    region
        (y, x) shape of the region; where it reaches beyond the image, its border there does too.
    """
    inner = overlaps.without(_on_border(truth, region, border_px), _on_border(predicted, region, border_px))
    return InnerCounts(match_cells(inner, _THRESHOLD).size, inner.true_ids.size, inner.predicted_ids.size)


def _on_border(labels: Labels, region: tuple[int, int], border_px: int) -> NDArray[np.uint32]:
    """Return the labels with a pixel in the outer rows or columns of the region."""
    height, width = region
    strips = (
        labels[:border_px],
        labels[max(height - border_px, 0) :],
        labels[:, :border_px],
        labels[:, max(width - border_px, 0) :],
    )
    return np.unique(np.concatenate([np.unique(strip) for strip in strips]))
