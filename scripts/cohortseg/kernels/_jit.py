"""The one decorator of every kernel: compiled once, cached on disk, and run without the GIL."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function with numba, keeping its annotated signature for the type checker.

    Kernels are serial: the pipeline runs several windows at once in threads, which the released GIL allows
    and which gives the same bytes whatever the number of threads.
    """
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))
