import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cohortseg.stores import segment_cache
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


def test_with_a_scratch_file_nothing_is_decoded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_cache, "WITH_SCRATCH_BYTES", 2 * 1024)
    cache = SegmentCache(10_000)
    cache.use_scratch(tmp_path, 10**6)
    decoded = []

    def decode(key: int) -> np.ndarray:
        decoded.append(key)
        return np.full(1024, key, np.uint8)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda key: (key, cache.get(key, lambda: decode(key))), [*range(20), *range(20)]))
    assert all((array == key).all() for key, array in found)
    assert sorted(decoded) == list(range(20))
    assert cache.decoded_bytes == 20 * 1024
    cache.close()


def test_what_the_scratch_file_has_no_room_for_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_cache, "WITH_SCRATCH_BYTES", 1024)
    cache = SegmentCache(10_000)
    cache.use_scratch(tmp_path, 5 * 1024)
    decoded = []
    for key in [*range(8), *range(8)]:
        cache.get(key, lambda key=key: decoded.append(key) or kilobyte())
    assert decoded == [*range(8), 5, 6, 7]
    cache.close()


def test_with_a_scratch_file_the_memory_is_what_was_asked_for(tmp_path: Path) -> None:
    cache = SegmentCache(10_000)
    cache.use_scratch(tmp_path, 10**6, 3 * 1024)
    segments = [weakref.ref(cache.get(key, kilobyte)) for key in range(8)]
    assert [each() is None for each in segments] == [True] * 5 + [False] * 3
    cache.close()
