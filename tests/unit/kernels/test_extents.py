import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import regionprops

from cohortseg.errors import ImageError
from cohortseg.kernels.extents import keep_labels, label_extents, merge_extents

few_labels = st.sampled_from([0, 1, 2, 3, 70_000, 2**32 - 1])
label_images = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12), elements=few_labels)


def test_labels_are_measured_where_the_window_lies() -> None:
    found = label_extents(np.array([[0, 7, 7], [0, 0, 7]], np.uint32), (10, 100))
    assert [column.tolist() for column in found] == [[7], [10], [101], [12], [103], [3], [31], [305]]


@given(label_images)
def test_agrees_with_regionprops(labels: np.ndarray) -> None:
    ids, numbered = np.unique(labels, return_inverse=True)
    numbered = numbered.reshape(labels.shape) + (0 if 0 in ids else 1)
    regions = regionprops(numbered) if labels.size else []
    expected = [(*region.bbox, region.area, *region.coords.sum(axis=0)) for region in regions]
    found = label_extents(labels, (0, 0))
    assert found.labels.tolist() == [value for value in ids.tolist() if value]
    assert np.array_equal(np.array(list(zip(*found[1:], strict=True))).reshape(-1, 7), np.reshape(expected, (-1, 7)))


@given(label_images, st.integers(0, 12))
def test_windows_together_are_the_whole(labels: np.ndarray, cut: int) -> None:
    cut = min(cut, len(labels))
    parts = [label_extents(labels[:cut], (0, 0)), label_extents(labels[cut:], (cut, 0))]
    merged, whole = merge_extents(parts), label_extents(labels, (0, 0))
    assert all(np.array_equal(one, other) for one, other in zip(merged, whole, strict=True))


def test_no_windows_have_no_labels() -> None:
    assert [len(column) for column in merge_extents([])] == [0] * 8


@given(label_images, st.sets(few_labels.filter(bool)))
def test_kept_labels_are_numbered_by_their_place(labels: np.ndarray, kept: set[int]) -> None:
    order = sorted(kept)
    expected = np.zeros_like(labels)
    for place, value in enumerate(order):
        expected[labels == value] = place + 1
    assert np.array_equal(keep_labels(labels, np.array(order, np.uint32)), expected)


def test_signed_labels_are_refused() -> None:
    for function in (lambda labels: label_extents(labels, (0, 0)), lambda labels: keep_labels(labels, labels[0])):
        with pytest.raises(ImageError, match="int32"):
            function(np.zeros((4, 5), np.int32))
