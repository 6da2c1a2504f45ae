"""Which true and predicted cells overlap, by how many pixels: all that the scores need of two label images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels.overlap import count_overlaps


@dataclass(frozen=True)
class Overlaps:
    """Cells of two labellings of the same pixels, and the pairs of them that share a pixel.

    Memory grows with the cells: no table of all cells by all cells is made.
    """

    true_ids: NDArray[np.uint32]
    """(n,) labels of the true cells, rising."""

    true_px: NDArray[np.int64]
    """(n,) their areas."""

    predicted_ids: NDArray[np.uint32]
    """(m,) labels of the predicted cells, rising."""

    predicted_px: NDArray[np.int64]
    """(m,) their areas."""

    rows: NDArray[np.int64]
    """(k,) true cell of each pair, as an index into `true_ids`."""

    columns: NDArray[np.int64]
    """(k,) predicted cell of each pair, as an index into `predicted_ids`."""

    common_px: NDArray[np.int64]
    """(k,) pixels that the pair shares, at least 1."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(k,) intersection over union of each pair."""
        union_px = self.true_px[self.rows] + self.predicted_px[self.columns] - self.common_px
        return np.asarray(self.common_px / union_px, np.float64)

    def without(self, true_ids: NDArray[np.uint32], predicted_ids: NDArray[np.uint32]) -> "Overlaps":
        """Return the overlaps of what is left when these cells are gone."""
        true_stays = ~np.isin(self.true_ids, true_ids)
        predicted_stays = ~np.isin(self.predicted_ids, predicted_ids)
        pair_stays = true_stays[self.rows] & predicted_stays[self.columns]
        return Overlaps(
            self.true_ids[true_stays],
            self.true_px[true_stays],
            self.predicted_ids[predicted_stays],
            self.predicted_px[predicted_stays],
            (np.cumsum(true_stays) - 1)[self.rows[pair_stays]],
            (np.cumsum(predicted_stays) - 1)[self.columns[pair_stays]],
            self.common_px[pair_stays],
        )

    def leaving_out(self, true_ids: NDArray[np.uint32]) -> "Overlaps":
        """Return the overlaps without these true cells and the predicted cells that lie mostly in them.

        A predicted cell goes where more than half of its pixels are of true cells that go, of all of them together.
        This is what COCO does with regions to be ignored (Lin et al. 2014, ECCV; `iscrowd` of `pycocotools.cocoeval`):
        they are never missed, and a detection that matches no other object and whose area lies in them to a large
        enough share counts neither as found nor as surplus. There the share is the threshold; here it is a half at
        every threshold, so that an image has one number of cells.

        COCO matches first. The order makes no difference here: a match at an IoU of 0.5 or more with a true cell that
        stays takes at least half of a predicted cell, so that no cell that could be matched goes.
        """
        if true_ids.size == 0:
            return self
        goes = np.isin(self.true_ids, true_ids)[self.rows]
        within_px = np.zeros(self.predicted_ids.size, np.int64)
        np.add.at(within_px, self.columns[goes], self.common_px[goes])
        return self.without(true_ids, self.predicted_ids[2 * within_px > self.predicted_px])


def find_overlaps(truth: Labels, predicted: Labels) -> Overlaps:
    """Return the overlaps of two label images.

    Parameters
    ----------
    truth, predicted
        uint32 of one shape, (y, x) or (z, y, x); 0 is background, values need not be consecutive.

    Raises
    ------
    ImageError
        The arrays differ in shape or are not uint32.
    """
    pairs, common_px = count_overlaps(truth, predicted)
    return _indexed(pairs, common_px, _areas(truth), _areas(predicted))


def join_overlaps(parts: Sequence[Overlaps]) -> Overlaps:
    """Return the overlaps of an image from those of the blocks that it was cut into."""
    keys = [
        part.true_ids[part.rows].astype(np.uint64) << np.uint64(32) | part.predicted_ids[part.columns] for part in parts
    ]
    pairs, common_px = _summed(keys, [part.common_px for part in parts])
    true = _summed([part.true_ids for part in parts], [part.true_px for part in parts])
    predicted = _summed([part.predicted_ids for part in parts], [part.predicted_px for part in parts])
    split = np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)], axis=1).astype(np.uint32)
    return _indexed(split, common_px, true, predicted)


_Key = TypeVar("_Key", np.uint32, np.uint64)
_Areas = tuple[NDArray[np.uint32], NDArray[np.int64]]


def _areas(labels: Labels) -> _Areas:
    pairs, areas_px = count_overlaps(labels, labels)
    return pairs[:, 0], areas_px


def _indexed(pairs: NDArray[np.uint32], common_px: NDArray[np.int64], true: _Areas, predicted: _Areas) -> Overlaps:
    rows, columns = np.searchsorted(true[0], pairs[:, 0]), np.searchsorted(predicted[0], pairs[:, 1])
    return Overlaps(*true, *predicted, rows, columns, common_px)


def _summed(
    keys: Sequence[NDArray[_Key]], pixels: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[_Key], NDArray[np.int64]]:
    """Return the distinct keys, rising, and the sum of the pixels of each."""
    distinct, place = np.unique(np.concatenate(keys), return_inverse=True)
    total_px = np.zeros(distinct.size, np.int64)
    np.add.at(total_px, place, np.concatenate(pixels))
    return distinct, total_px
