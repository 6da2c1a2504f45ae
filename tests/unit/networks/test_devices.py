"""The device asked for is the device used, or an error."""

import pytest
import torch

from cohortseg.errors import DeviceError
from cohortseg.networks import pick_device, use_threads
from cohortseg.networks.devices import device_name


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


def test_the_number_of_threads_is_the_one_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        use_threads(before)
