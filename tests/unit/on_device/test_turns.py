"""Turns on a device: one at a time, and what happens when its memory runs out."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from cohortseg.errors import DeviceError
from cohortseg.on_device.maths import DeviceMaths
from cohortseg.on_device.turns import Turns


def test_work_of_many_threads_runs_one_at_a_time(torch_device: str) -> None:
    turns, field = Turns(torch_device), torch.zeros(4, device=torch_device)
    at_work: list[int] = []

    def work() -> int:
        at_work.append(threading.get_ident())
        time.sleep(0.005)
        assert at_work == [threading.get_ident()]
        at_work.pop()
        return 7

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(turns.take, work, uses=field, what="work") for _ in range(12)]
        assert [future.result() for future in found] == [7] * 12


@pytest.mark.parametrize("n_failures", [0, 2])
def test_work_that_fits_in_the_end_gives_its_result(torch_device: str, n_failures: int) -> None:
    failures = [torch.OutOfMemoryError("no")] * n_failures

    def work() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert Turns(torch_device).fitting(work, "work") == "done"


def test_work_that_never_fits_is_an_error_that_names_it_and_frees_the_turn(torch_device: str) -> None:
    turns, field = Turns(torch_device), torch.zeros(4, device=torch_device)

    def work() -> None:
        raise torch.OutOfMemoryError("tried to allocate 9 GiB.\nmore")

    expected = rf"{torch_device} ran out of memory on a tile \(tried to allocate 9 GiB.\); it must fit beside .* Set a"
    with pytest.raises(DeviceError, match=expected):
        turns.take(work, uses=field, what="a tile")
    assert turns.take(lambda: 1, uses=field, what="a tile") == 1


def test_a_fault_is_no_lack_of_memory(torch_device: str) -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Turns(torch_device).fitting(work, "work")


def test_values_come_back_as_they_went(torch_device: str) -> None:
    turns, values = Turns(torch_device), np.arange(12, dtype=np.int32).reshape(3, 4)
    on_device = turns.to_device(values[:, ::2])
    assert on_device.device.type == torch_device
    assert np.array_equal(turns.to_host(on_device), values[:, ::2])


def test_blending_has_the_bits_of_the_kernel(torch_device: str) -> None:
    from cohortseg.kernels.blend import add_weighted

    rng, maths = np.random.default_rng(0), DeviceMaths(torch_device)
    target, values = rng.normal(size=(2, 3, 40, 50)).astype(np.float32)
    on_y, on_x = rng.random(40).astype(np.float32), rng.random(50).astype(np.float32)
    on_device = torch.from_numpy(target.copy()).to(torch_device)
    maths.add_weighted(on_device, torch.from_numpy(values).to(torch_device), on_y, on_x)
    add_weighted(target, values, on_y, on_x)
    assert np.array_equal(on_device.cpu(), target)
