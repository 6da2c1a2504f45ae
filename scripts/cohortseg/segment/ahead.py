"""Work done ahead of need by threads, in order and in bounds."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    work: Callable[[T], R], items: Iterable[T], *, n_workers: int, queue_size: int, name: str
) -> Generator[R, None, None]:
    """Yield the result for each item, in order, worked out by threads that are at most `queue_size` items ahead.

    An exception of `work` comes where its result would. Closed early or ended by an exception, it leaves no thread;
    `name` begins their names.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(n_workers, name)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > queue_size:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
