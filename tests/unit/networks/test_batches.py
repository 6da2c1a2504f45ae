"""Batches on a pretended GPU: none lost when one does not fit, order kept, sizes as said."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from cohortseg.errors import DeviceError
from cohortseg.networks.batches import Batches, BatchSize, Tile
from cohortseg.networks.on_torch import fitting_tiles


class Gpu:
    """Holds so many tiles at once, over all batches under way."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.held = 0
        self.sizes: list[int] = []
        self.relieved = 0

    def start(self, batch: list[Tile]) -> list[Tile]:
        if self.held + len(batch) > self.room:
            raise torch.OutOfMemoryError
        self.held += len(batch)
        self.sizes.append(len(batch))
        return batch

    def finish(self, batch: list[Tile]) -> list[int]:
        self.held -= len(batch)
        return [int(tile[0, 0, 0]) for tile in batch]

    def relieve(self) -> None:
        self.relieved += 1

    def run(self, tiles: Iterator[Tile], size: int) -> Iterator[int]:
        return Batches(BatchSize(size), self.start, self.finish, relieve=self.relieve, where="GPU").run(tiles)


def numbered(n: int) -> Iterator[Tile]:
    return (np.full((1, 4, 6), i, np.float32) for i in range(n))


@pytest.mark.parametrize("room", [1, 2, 3, 5, 8, 16, 100])
@pytest.mark.parametrize("n_tiles", [0, 1, 7, 8, 9, 50])
def test_every_tile_comes_out_once_and_in_order_whatever_fits(room: int, n_tiles: int) -> None:
    gpu = Gpu(room)
    assert list(gpu.run(numbered(n_tiles), 8)) == list(range(n_tiles))
    assert sum(gpu.sizes) == n_tiles
    assert gpu.held == 0


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    gpu = Gpu(room=5)
    list(gpu.run(numbered(12), 16))
    # 12 and 6 do not fit, 3 do; 3 more do not fit beside them, 1 does.
    assert gpu.sizes[:3] == [3, 1, 1]
    assert gpu.relieved >= 3


def test_two_batches_fill_the_gpu_and_the_last_one_is_what_is_left() -> None:
    gpu = Gpu(room=100)
    list(gpu.run(numbered(21), 8))
    assert (gpu.sizes, gpu.relieved) == ([8, 8, 5], 0)


def test_batches_grow_again_once_there_is_room() -> None:
    gpu = Gpu(room=4)
    outputs = gpu.run(numbered(400), 8)
    first = [next(outputs) for _ in range(8)]
    gpu.room = 100
    assert first + list(outputs) == list(range(400))
    assert max(gpu.sizes[:4]) <= 4
    assert max(gpu.sizes) == 8


def test_a_tile_that_does_not_fit_alone_is_an_error_with_a_remedy() -> None:
    with pytest.raises(DeviceError, match=r"GPU ran out of memory on one tile of 4 x 6 px.*pipeline\.infer_size"):
        list(Gpu(room=0).run(numbered(5), 4))


def test_tiles_are_taken_for_two_batches_and_no_more() -> None:
    taken = []

    def tiles() -> Iterator[Tile]:
        for i, tile in enumerate(numbered(50)):
            taken.append(i)
            yield tile

    outputs = Gpu(room=100).run(tiles(), 4)
    next(outputs)
    assert len(taken) == 8


def test_another_error_passes_through() -> None:
    gpu = Gpu(room=100)

    def broken(_: list[Tile]) -> list[Tile]:
        raise RuntimeError("cuDNN")

    gpu.start = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="cuDNN"):
        list(gpu.run(numbered(3), 2))


def test_the_first_size_is_a_power_of_two_within_memory_tiles_and_pixels() -> None:
    gib, side = 2**30, 1024 * 1024
    assert fitting_tiles(80 * gib, gib, side) == 8
    assert fitting_tiles(80 * gib, gib // 16, side // 16) == 64
    assert fitting_tiles(7 * gib, gib, side) == 2
    assert fitting_tiles(gib // 2, gib, side) == 1
