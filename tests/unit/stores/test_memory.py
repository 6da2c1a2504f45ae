"""Memory that goes back to the system."""

import os
import platform
from pathlib import Path

import pytest

from cohortseg.stores.memory import release_memory


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
