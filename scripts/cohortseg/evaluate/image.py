"""One image's cells against its ground truth, read block by block."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.evaluate.counts import Counts
from cohortseg.evaluate.neurips import CHALLENGE, ChallengeRule, InnerCounts, count_inner
from cohortseg.evaluate.overlaps import Overlaps, find_overlaps, join_overlaps

ReadLabels = Callable[[Box], Labels]
"""Gives the (y, x) uint32 labels of a box; 0 is background."""


def evaluate_image(
    read_truth: ReadLabels,
    read_predicted: ReadLabels,
    shape: tuple[int, int],
    rule: ChallengeRule = CHALLENGE,
    *,
    left_out: Sequence[int] | NDArray[np.uint32] = (),
) -> Counts:
    """Count how an image's predicted cells agree with its true ones.

    The regions of the challenge are read one after the other, each once: memory grows with the region and the cells,
    not with the image.

    Parameters
    ----------
    read_truth, read_predicted
        Give the labels of any box of the image.
    shape
        (y, x) of the image.
    rule
        Which regions the F1 of the NeurIPS 2022 challenge is counted in.
    left_out
        Labels of true cells that say nothing, such as those with a faulty outline. They and the predicted cells that
        lie mostly in them are not counted: see `Overlaps.leaving_out`.
    """
    gone = np.array(left_out, np.uint32)
    found = list(_count_regions(read_truth, read_predicted, shape, rule, gone))
    total = InnerCounts(0, 0, 0)
    for _, inner in found:
        total += inner
    return Counts.of(join_overlaps([overlaps for overlaps, _ in found]).leaving_out(gone), total)


def _count_regions(
    read_truth: ReadLabels,
    read_predicted: ReadLabels,
    shape: tuple[int, int],
    rule: ChallengeRule,
    gone: NDArray[np.uint32],
) -> Iterator[tuple[Overlaps, InnerCounts]]:
    for region in rule.regions(shape):
        box = region.intersection(Box(0, 0, *shape))
        truth, predicted = read_truth(box), read_predicted(box)
        overlaps = find_overlaps(truth, predicted)
        yield overlaps, count_inner(truth, predicted, overlaps.leaving_out(gone), region.shape, rule.border_px)
