"""The device asked for is the device used, or an error."""

import os
import sys
from pathlib import Path

import pytest
import torch

from cohortseg.errors import DeviceError
from cohortseg.networks import devices, pick_device, use_threads
from cohortseg.networks.devices import device_name, is_gpu, pick_precision, thread_count


def test_cpu_is_always_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert device_name(pick_device("cpu")) == "cpu"


@pytest.mark.parametrize(("has_gpu", "kind"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, has_gpu: bool, kind: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert pick_device("auto").type == kind


def test_cuda_without_a_gpu_fails_rather_than_falling_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="device 'cuda' was asked for, but no GPU can be used") as caught:
        pick_device("cuda")
    assert isinstance(caught.value, RuntimeError)


def test_auto_asks_torch_only_where_a_driver_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices, "_GPU_FILES", (str(tmp_path / "driver"),))
    assert not is_gpu("auto")
    assert not is_gpu("cpu")
    assert is_gpu("cuda")
    (tmp_path / "driver").touch()
    assert is_gpu("auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not is_gpu("auto")


@pytest.mark.parametrize(
    ("asked", "has_bf16", "used"),
    [("auto", True, "bf16"), ("auto", False, "fp32"), ("fp32", True, "fp32"), ("bf16", True, "bf16")],
)
def test_auto_takes_bf16_where_the_hardware_has_it(asked: str, has_bf16: bool, used: str) -> None:
    assert pick_precision(asked, has_bf16, "the GPU") == used


def test_bf16_without_hardware_fails_rather_than_falling_back() -> None:
    with pytest.raises(DeviceError, match=r"precision 'bf16' was asked for; the GPU has no arithmetic in bf16"):
        pick_precision("bf16", False, "the GPU")


def test_the_number_of_threads_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(devices, "_asked_threads", None)
    try:
        use_threads(1)
        assert (torch.get_num_threads(), thread_count()) == (1, 1)
    finally:
        torch.set_num_threads(before)


def test_unasked_it_is_the_cpus_that_the_process_may_use_or_what_openmp_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_asked_threads", None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert thread_count() == 3
    for told, count in (("2", 2), ("16", 3), ("", 3), ("many", 3), ("0", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert thread_count() == count


def test_torch_that_is_imported_late_is_told_late_and_only_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    monkeypatch.setattr(devices, "_asked_threads", None)
    devices.tell_torch_threads()
    assert told == []
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "torch")
        use_threads(3)
    assert told == []
    devices.tell_torch_threads()
    assert told == [3]
