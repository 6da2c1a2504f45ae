"""Work that takes a while, in threads, so that the server answers others meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

_THREADS = 8
_THREADS_EACH = 3
"""Of one sample: an image that is slow, or that hangs, leaves threads for the others."""


class Workers:
    """Threads of the server; to be used in one event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "viewer")
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, sample: str, work: Callable[[], T]) -> T:
        """Do work for a sample, and return its result; work that nobody waits for any more is not begun."""
        turns = self._turns.setdefault(sample, asyncio.Semaphore(_THREADS_EACH))
        await turns.acquire()
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)

        def over(done: asyncio.Future[T]) -> None:
            turns.release()
            if not done.cancelled():
                done.exception()  # looked at, also where nobody waits for it any more

        future.add_done_callback(over)
        # The thread cannot be stopped, and takes its turn until it ends.
        return await asyncio.shield(future)

    def close(self) -> None:
        """Wait for what has begun, and begin nothing else."""
        self._pool.shutdown(wait=True, cancel_futures=True)
