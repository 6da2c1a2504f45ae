"""Pixels shared by pairs of labels, against a count by numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError
from cohortseg.kernels.overlap import count_overlaps

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=12)
VALUES = st.sampled_from([0, 0, 1, 2, 3, 70_000, 2**31, 2**32 - 1])


def by_numpy(a: Labels, b: Labels) -> tuple[list[list[int]], list[int]]:
    both = (a > 0) & (b > 0)
    pairs, counts = np.unique(np.stack([a[both], b[both]], axis=1), axis=0, return_counts=True)
    return pairs.tolist(), counts.tolist()


@given(st.data(), SHAPES)
def test_overlaps_are_those_that_numpy_counts(data: st.DataObject, shape: tuple[int, ...]) -> None:
    a, b = (data.draw(hnp.arrays(np.uint32, shape, elements=VALUES)) for _ in range(2))
    pairs, counts = count_overlaps(a, b)
    assert (pairs.tolist(), counts.tolist()) == by_numpy(a, b)
    assert pairs.dtype == np.uint32
    assert counts.dtype == np.int64


def test_more_pairs_than_the_first_table_holds_are_all_counted() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2**32, (2, 300, 300), dtype=np.uint32)
    pairs, counts = count_overlaps(a, b)
    assert (pairs.tolist(), counts.tolist()) == by_numpy(a, b)


def test_a_view_that_is_not_contiguous_is_counted_like_its_copy() -> None:
    a = np.arange(48, dtype=np.uint32).reshape(6, 8) // 5
    pairs, counts = count_overlaps(a[::2, ::-1], a[1::2])
    assert (pairs.tolist(), counts.tolist()) == by_numpy(a[::2, ::-1], a[1::2])


def test_labels_with_themselves_give_areas() -> None:
    labels = np.array([[0, 7, 7], [2, 2, 7]], np.uint32)
    pairs, counts = count_overlaps(labels, labels)
    assert pairs.tolist() == [[2, 2], [7, 7]]
    assert counts.tolist() == [2, 3]


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(ImageError, match=r"shape \(2, 3\) are compared with labels of shape \(3, 2\)"):
        count_overlaps(np.zeros((2, 3), np.uint32), np.zeros((3, 2), np.uint32))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint16, bool])
def test_labels_of_another_dtype_are_refused(dtype: type) -> None:
    with pytest.raises(ImageError, match="uint32"):
        count_overlaps(np.zeros((2, 3), np.uint32), np.zeros((2, 3), dtype))
