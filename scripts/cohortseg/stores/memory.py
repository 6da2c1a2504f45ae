"""Memory that is free within the process, given back to the system."""

import ctypes
import sys

import pyarrow as pa


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
