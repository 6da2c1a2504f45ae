"""Memory that is free within the process, given back to the system."""

import ctypes
import sys

import pyarrow as pa

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 2**20


def return_large_arrays() -> None:
    """Have malloc give arrays of 1 MiB or more back to the system as soon as they are freed; on Linux with glibc.

    By itself it stops doing so for all that is smaller than the largest array freed so far, up to 32 MiB, and keeps for
    each thread what that one has freed: in a pipeline of threads several hundred MB more, growing with time.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def release_memory() -> None:
    """Give back what pyarrow and, on Linux with glibc, malloc keep for later use.

    After threads have worked on large tables that is as much as they used, while the next step needs its own: the
    peak of a process would be the sum of its steps instead of the largest. It takes some milliseconds.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
