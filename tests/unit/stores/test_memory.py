"""Memory that goes back to the system."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from cohortseg.stores.memory import release_memory, return_large_arrays


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_what_was_freed_below_something_still_held_is_given_back() -> None:
    blocks = [bytearray(10_000) for _ in range(10_000)]
    for block in blocks:
        block[::4096] = b"x" * 3
    last = blocks[-1]
    del blocks, block
    before = resident_bytes()
    release_memory()
    assert before - resident_bytes() > 50_000_000
    assert len(last) == 10_000


def kept_mb(call: str) -> int:
    """Return the memory that a process still holds once it has freed all of its arrays but small ones in between."""
    code = f"""
import os
from cohortseg.stores.memory import return_large_arrays
import numpy as np
{call}
del (large := [np.ones(30 * 2**20, np.uint8)])[:]  # from here on malloc keeps all that is smaller
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before, arrays, held = resident(), [], []
for _ in range(10):
    arrays.append(np.ones(8 * 2**20, np.uint8))
    held.append(bytearray(100_000))
arrays.clear()
print((resident() - before) >> 20)
"""
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_large_arrays_go_back_to_the_system_at_once() -> None:
    assert kept_mb("") > 60
    assert kept_mb("return_large_arrays()") < 10


def test_where_malloc_cannot_be_told_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    return_large_arrays()
