import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.errors import ImageError
from cohortseg.kernels.tally_values import count_covered, count_values


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(0, 12), width=st.integers(1, 12))
def test_counts_are_those_of_numpy(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 65536, (height, width)).astype(np.uint16)
    labels = rng.integers(0, 3, (height, width)).astype(np.uint32)
    counts = np.zeros((2, 65536), np.int64)
    count_values(values, labels, counts)
    for row, part in enumerate((values[labels == 0], values[labels > 0])):
        np.testing.assert_array_equal(counts[row], np.bincount(part, minlength=65536))
    tiles = rng.integers(0, 2, height), rng.integers(0, 3, width)
    covered, expected = np.zeros((2, 3), np.int64), np.zeros((2, 3), np.int64)
    count_covered(labels, tiles, covered)
    np.add.at(expected, np.ix_(*tiles), labels > 0)
    np.testing.assert_array_equal(covered, expected)


def test_labels_of_other_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match=r"labels of \(2, 2\); expected \(2, 3\)"):
        count_values(np.zeros((2, 3), np.uint16), np.zeros((2, 2), np.uint32), np.zeros((2, 65536), np.int64))
