"""Arrays kept on disk for as long as a process needs them."""

import logging
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cohortseg.stores import scratch
from cohortseg.stores.scratch import Scratch

ARRAYS = npst.arrays(
    st.sampled_from(["u1", ">u2", "i4", "f4", "f8"]),
    npst.array_shapes(max_dims=4, min_side=1),
    elements={"allow_nan": False},
)


@given(st.lists(ARRAYS, min_size=1, max_size=5))
def test_arrays_come_back_as_they_were_whatever_their_type_and_layout(arrays: list[np.ndarray]) -> None:
    arrays = [*arrays, *(array.T for array in arrays), np.broadcast_to(np.uint16(7), (3, 4))]
    with tempfile.TemporaryDirectory() as folder:
        kept = Scratch(Path(folder), 10**6)
        for key, array in enumerate(arrays):
            kept.write(key, array)
        for key, array in reversed(list(enumerate(arrays))):
            found = kept.read(key)
            assert found is not None
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, array)
        assert kept.read("never written") is None
        kept.close()


def test_no_more_is_kept_than_was_allowed_nor_than_a_quarter_of_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def n_kept(limit_bytes: int) -> int:
        kept = Scratch(tmp_path, limit_bytes)
        for key in range(10):
            kept.write(key, np.full(1000, key, np.uint8))
            kept.write(key, np.full(1000, key, np.uint8))
        found = sum(kept.read(key) is not None for key in range(10))
        kept.close()
        return found

    assert n_kept(3500) == 3
    monkeypatch.setattr(scratch, "_RESERVE_BYTES", 1000)
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: SimpleNamespace(free=8100))
    assert n_kept(10**9) == 2


def test_nothing_more_is_kept_where_others_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Scratch(tmp_path, 10**6)
    kept.write("a", np.arange(100))
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO, "cohortseg"):
        patch.setattr(scratch.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**29))
        kept.write("b", np.arange(100))
    kept.write("c", np.arange(100))
    assert kept.read("a") is not None
    assert kept.read("b") is None
    assert kept.read("c") is None
    assert caplog.text.count("is nearly full") == 1
    kept.close()


def test_the_file_has_no_name_that_a_killed_job_could_leave(tmp_path: Path) -> None:
    kept = Scratch(tmp_path, 10**6)
    kept.write("a", np.zeros(1000))
    assert not list(tmp_path.iterdir())
    kept.close()


def test_a_disk_that_is_full_ends_the_keeping_and_what_was_kept_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Scratch(tmp_path, 10**6)
    kept.write("a", np.arange(100))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.INFO, "cohortseg"), monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        kept.write("b", np.arange(100))
    kept.write("c", np.arange(100))
    np.testing.assert_array_equal(kept.read("a"), np.arange(100))
    assert kept.read("b") is kept.read("c") is None
    assert [record.getMessage().count("No space left") for record in caplog.records] == [1]
    kept.close()


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, offset: write(file, content[:7], offset))
    kept = Scratch(tmp_path, 10**6)
    kept.write("a", np.arange(100))
    np.testing.assert_array_equal(kept.read("a"), np.arange(100))
    kept.close()
