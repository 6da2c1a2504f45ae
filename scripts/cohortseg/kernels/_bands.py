"""One large array on several cores: ranges of its rows or labels, each worked on by a thread."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

# More ranges than threads, so that a thread that is done early takes another.
_RANGES_PER_THREAD = 4


def in_ranges(work: Callable[[int, int], None], start: int, stop: int, n_threads: int) -> None:
    """Call `work` on half-open ranges that make up one from start to stop.

    Parameters
    ----------
    work
        A kernel that releases the GIL; what a range writes, no other range reads or writes.
    n_threads
        How many run at once; the result does not depend on it.
    """
    if n_threads <= 1 or stop - start <= 1:
        work(start, stop)
        return
    n_ranges = min(stop - start, _RANGES_PER_THREAD * n_threads)
    edges = [start + (stop - start) * i // n_ranges for i in range(n_ranges + 1)]
    with ThreadPoolExecutor(n_threads, "kernel") as pool:
        for done in [pool.submit(work, first, last) for first, last in pairwise(edges)]:
            done.result()
