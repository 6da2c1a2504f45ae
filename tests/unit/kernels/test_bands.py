"""One array on several threads: the same bytes as on one."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.kernels._bands import in_ranges
from cohortseg.kernels.follow import follow_flow
from cohortseg.kernels.targets import flow_targets
from cohortseg.synthetic import crowded_field


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 9))
def test_ranges_make_up_the_whole_each_once(start: int, length: int, n_threads: int) -> None:
    done: list[int] = []
    lock = threading.Lock()

    def work(first: int, last: int) -> None:
        with lock:
            done.extend(range(first, last))

    in_ranges(work, start, start + length, n_threads)
    assert sorted(done) == list(range(start, start + length))


def test_a_fault_in_a_range_reaches_the_caller() -> None:
    def work(first: int, last: int) -> None:
        if first <= 5 < last:
            raise ZeroDivisionError("by nothing")

    with pytest.raises(ZeroDivisionError, match="by nothing"):
        in_ranges(work, 0, 10, 3)


@pytest.mark.parametrize("n_threads", [2, 5])
def test_flows_and_paths_do_not_depend_on_the_threads(n_threads: int) -> None:
    labels = crowded_field((150, 170), n_cells=60, diameter_px=14.0, seed=1)[1]
    targets = flow_targets(labels)
    np.testing.assert_array_equal(flow_targets(labels, n_threads=n_threads), targets)
    flow = (5 * targets + np.random.default_rng(0).normal(0, 0.5, targets.shape)).astype(np.float32)
    ends = follow_flow(flow, labels > 0, niter=200)
    np.testing.assert_array_equal(follow_flow(flow, labels > 0, niter=200, n_threads=n_threads), ends)


def test_labels_of_any_value_are_cells_as_those_numbered_from_one() -> None:
    labels = crowded_field((60, 70), n_cells=12, diameter_px=14.0, seed=1)[1]
    huge = np.where(labels > 0, labels * np.uint32(1_000_003), 0).astype(np.uint32)
    np.testing.assert_array_equal(flow_targets(huge), flow_targets(labels))
    np.testing.assert_array_equal(flow_targets(labels * np.uint32(3)), flow_targets(labels))
