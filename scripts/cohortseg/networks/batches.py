"""How many tiles a GPU takes at once, and what happens when they are too many. Nothing here touches a GPU."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cohortseg.errors import DeviceError

Tile = NDArray[np.float32]
Started = TypeVar("Started")
Output = TypeVar("Output")

_GROW_AFTER = 16


class BatchSize:
    """A batch size that halves when memory runs out and doubles again, up to where it began, after 16 successes.

    Attributes
    ----------
    size
        Tiles in the next batch, at least 1.
    """

    def __init__(self, most: int) -> None:
        self.size = most
        self._most = most
        self._successes = 0

    def ran_out(self, n_tiles: int) -> None:
        """Note that a batch did not fit."""
        self.size = max(1, n_tiles // 2)
        self._successes = 0

    def fitted(self, n_tiles: int) -> None:
        """Note that a batch was run; one smaller than the size says nothing of it."""
        self._successes += n_tiles >= self.size
        if self._successes >= _GROW_AFTER:
            self.size = min(self._most, 2 * self.size)
            self._successes = 0


class Batches(Generic[Started, Output]):
    """Runs tiles in batches, two under way, and loses none when one does not fit.

    Parameters
    ----------
    size
        How many tiles a batch has.
    start
        Starts a batch and returns at once with what `finish` takes; raises torch.OutOfMemoryError where it does not
        fit.
    finish
        Waits for a started batch; gives the outputs of its tiles, in order.
    relieve
        Gives memory back before the next try.
    where
        The device, for the message.
    """

    def __init__(
        self,
        size: BatchSize,
        start: Callable[[list[Tile]], Started],
        finish: Callable[[Started], list[Output]],
        *,
        relieve: Callable[[], None],
        where: str,
    ) -> None:
        self._size, self._start, self._finish = size, start, finish
        self._relieve, self._where = relieve, where
        self._waiting: deque[Tile] = deque()
        self._under_way: deque[tuple[int, Started]] = deque()

    def run(self, tiles: Iterable[Tile]) -> Generator[Output, None, None]:
        """Yield the output of each tile, in order.

        Raises
        ------
        DeviceError
            If a single tile, alone on the GPU, does not fit its memory.
        """
        tiles = iter(tiles)
        while True:
            while len(self._under_way) < 2:
                self._waiting.extend(islice(tiles, max(0, self._size.size - len(self._waiting))))
                if not self._waiting or not self._started():
                    break
            if not self._under_way:
                return
            n_tiles, started = self._under_way.popleft()
            outputs = self._finish(started)
            self._size.fitted(n_tiles)
            yield from outputs

    def _started(self) -> bool:
        """Start a batch of those that wait; False if it has to wait for what is under way and holds memory."""
        while True:
            batch = list(islice(self._waiting, self._size.size))
            try:
                started = self._start(batch)
            except torch.OutOfMemoryError as error:
                self._make_room(batch, error)
                if self._under_way:
                    return False
                continue
            for _ in batch:
                self._waiting.popleft()
            self._under_way.append((len(batch), started))
            return True

    def _make_room(self, batch: list[Tile], error: torch.OutOfMemoryError) -> None:
        if len(batch) == 1 and not self._under_way:
            n_y, n_x = batch[0].shape[-2:]
            raise DeviceError(
                f"{self._where} ran out of memory on one tile of {n_y} x {n_x} px",
                "one tile must fit the memory that is free",
                "Set a smaller pipeline.infer_size, or free the GPU.",
            ) from error
        self._size.ran_out(len(batch))
        self._relieve()
