"""Nuclei, cytoplasms and rings of cells, against numpy and scikit-image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import expand_labels

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError
from cohortseg.kernels.compartments import ring_labels, split_by_nuclei

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=14)
SPARSE = st.sampled_from([0] * 12 + [1, 2, 3, 70_000, 2**32 - 1])
DENSE = st.sampled_from([0, 1, 2, 3, 2**32 - 1])


def ring_by_numpy(labels: Labels, reach_px: int) -> Labels:
    """Return the ring from the squares of all distances, all pixels by all pixels of cells."""
    ring = np.zeros_like(labels)
    places = np.argwhere(labels)
    for place in np.argwhere(labels == 0):
        squares = ((places - place) ** 2).sum(axis=1)
        if squares.size and squares.min() <= reach_px**2:
            ring[tuple(place)] = labels[tuple(places[squares == squares.min()].T)].min()
    return ring


@given(st.data(), SHAPES, st.integers(1, 6))
def test_a_ring_goes_to_the_nearest_cell_of_equal_ones_to_the_smaller(
    data: st.DataObject, shape: tuple[int, int], reach_px: int
) -> None:
    labels = data.draw(hnp.arrays(np.uint32, shape, elements=SPARSE))
    found = ring_labels(np.pad(labels, reach_px), reach_px)
    np.testing.assert_array_equal(found, ring_by_numpy(labels, reach_px))


@pytest.mark.parametrize("reach_px", [1, 3, 9])
def test_a_ring_is_what_scikit_image_adds_but_for_ties(reach_px: int) -> None:
    rng = np.random.default_rng(reach_px)
    labels = np.zeros((80, 90), np.uint32)
    for number, (y, x) in enumerate(rng.integers(0, 80, (25, 2)), start=1):
        labels[y : y + 4, x : x + 6] = number
    found, expanded = ring_labels(np.pad(labels, reach_px), reach_px), expand_labels(labels, reach_px)
    np.testing.assert_array_equal(found != 0, (expanded != 0) & (labels == 0))
    differ = (found != expanded) & (labels == 0)
    away = {number: distance_transform_edt(labels != number) for number in np.unique(labels[labels != 0])}
    for place in map(tuple, np.argwhere(differ)):
        assert away[found[place]][place] == away[expanded[place]][place]
        assert found[place] < expanded[place]
    assert differ.mean() < 0.05


def test_what_lies_in_the_halo_counts_for_the_block_and_is_not_returned() -> None:
    labels = np.zeros((5, 9), np.uint32)
    labels[2, 0], labels[2, 8] = 5, 8
    assert ring_labels(labels, 1)[1].tolist() == [5, 0, 0, 0, 0, 0, 8], "(3, 7): one pixel of halo apart"
    assert ring_labels(labels, 2).tolist() == [[5, 0, 0, 0, 8]]
    labels[2, 2] = 3
    assert ring_labels(labels, 2).tolist() == [[0, 3, 3, 0, 8]]


@given(st.data(), SHAPES)
def test_pixels_of_a_cell_are_of_its_nuclei_of_none_or_of_another_cell_s(
    data: st.DataObject, shape: tuple[int, int]
) -> None:
    cells, nuclei = (data.draw(hnp.arrays(np.uint32, shape, elements=DENSE)) for _ in range(2))
    nucleus_ids = np.array(data.draw(st.sets(st.sampled_from([1, 3, 2**32 - 1]))), dtype=object)
    ids = np.array(sorted(nucleus_ids.item()), np.uint32)
    owners = data.draw(hnp.arrays(np.uint32, ids.size, elements=st.sampled_from([1, 2, 2**32 - 1])))
    owner_of = dict(zip(ids.tolist(), owners.tolist(), strict=True))
    owned = np.array([[owner_of.get(number, 0) for number in row] for row in nuclei.tolist()], np.uint32)
    nucleus, cytoplasm = split_by_nuclei(cells, nuclei, ids, owners)
    np.testing.assert_array_equal(nucleus, np.where((owned == cells) & (nuclei != 0), cells, 0))
    np.testing.assert_array_equal(cytoplasm, np.where(nuclei == 0, cells, 0))


def test_labels_of_another_type_are_refused() -> None:
    wide = np.zeros((5, 5), np.int64)
    with pytest.raises(ImageError, match="uint32"):
        ring_labels(wide, 1)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="uint32"):
        split_by_nuclei(wide, wide, np.zeros(0, np.uint32), np.zeros(0, np.uint32))  # type: ignore[arg-type]
