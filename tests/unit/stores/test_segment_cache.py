import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cohortseg.stores.segment_cache import SegmentCache


def kilobyte() -> np.ndarray:
    return np.zeros(1024, np.uint8)


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    cache = SegmentCache(3 * 1024)
    decoded = []

    def ask(key: str) -> None:
        cache.get(key, lambda: decoded.append(key) or kilobyte())

    for key in "abcadaeb":
        ask(key)
    assert decoded == list("abcdeb")


def test_a_segment_larger_than_the_budget_is_kept_until_the_next() -> None:
    cache = SegmentCache(10)
    decoded = []
    for key in "aaba":
        cache.get(key, lambda key=key: decoded.append(key) or kilobyte())
    assert decoded == ["a", "b", "a"]


def test_threads_that_want_one_segment_decode_it_once() -> None:
    cache = SegmentCache(10_000)
    start = threading.Barrier(8)
    calls = []

    def decode() -> np.ndarray:
        calls.append(1)
        return kilobyte()

    def ask(_: int) -> int:
        start.wait()
        return id(cache.get("a", decode))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert len(calls) == 1


def test_an_error_reaches_the_caller_and_the_next_call_tries_again() -> None:
    cache = SegmentCache(10_000)

    def fail() -> np.ndarray:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        cache.get("a", fail)
    assert cache.get("a", kilobyte).nbytes == 1024
