"""The device asked for is the device used, or an error."""

import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cohortseg.errors import DeviceError
from cohortseg.networks import claims, devices, pick_device, use_own_gpu, use_threads
from cohortseg.networks.claims import claim_gpu
from cohortseg.networks.devices import device_name, is_gpu, pick_precision, thread_count


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget that earlier tests ran jobs, in this process."""
    monkeypatch.setattr(devices, "_wants_own_gpu", False)
    monkeypatch.setattr(devices, "_claim", None)
    if not torch.cuda.is_available():
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the folder of locks of a machine with two GPUs, as torch would show it."""
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda i: SimpleNamespace(uuid=f"uuid-{i}"),
        "get_device_name": lambda i: "a GPU",
        "set_device": lambda i: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(claims, "lock_folder", lambda: tmp_path)
    return tmp_path


def test_a_job_takes_the_gpu_that_no_other_job_has_and_keeps_it(
    two_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    other = claim_gpu(["uuid-0"], two_gpus, given=False)
    use_own_gpu()
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", 1)
    assert current == [1]
    assert pick_device("cpu") == torch.device("cpu")
    other.release()
    assert devices._claim is not None
    devices._claim.release()


def test_what_is_no_job_takes_the_first_gpu_and_no_lock(two_gpus: Path) -> None:
    assert pick_device("auto") == torch.device("cuda")
    assert list(two_gpus.iterdir()) == []


def test_a_single_gpu_that_was_given_is_not_waited_for(
    two_gpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    other = claim_gpu(["uuid-0"], two_gpus, given=False)
    use_own_gpu()
    assert pick_device("cuda") == torch.device("cuda", 0)
    assert "it is shared" in caplog.text
    other.release()


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (None, None),
        ("", []),
        ("0", ["0"]),
        ("2, 3", ["2", "3"]),
        ("GPU-1,-1,GPU-2", ["GPU-1"]),
        ("NoDevFiles", []),
    ],
)
def test_what_a_scheduler_gives_is_read_as_cuda_reads_it(
    monkeypatch: pytest.MonkeyPatch, text: str | None, given: list[str] | None
) -> None:
    if text is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert devices._given_gpus() == given


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
def test_a_job_computes_on_the_gpu_that_it_took(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(claims, "lock_folder", lambda: tmp_path)
    use_own_gpu()
    device = pick_device("cuda")
    assert torch.ones(3, device=device).sum().item() == 3
    assert torch.cuda.current_device() == device.index
    assert len(list(tmp_path.glob("*.lock"))) == 1


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


def test_a_gpu_that_is_not_there_fails_with_what_was_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    driver = tmp_path / "driver"
    driver.touch()
    monkeypatch.setattr(devices, "_GPU_FILES", (str(driver), "/dev/other"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(DeviceError) as caught:
        is_gpu("cuda")
    said = str(caught.value)
    assert f"torch {torch.__version__} (built for 13.2) sees 0 GPUs" in said
    assert "CUDA_VISIBLE_DEVICES is '7'" in said
    assert f"of the drivers' files {driver} /dev/other there is {driver}" in said


@pytest.mark.parametrize("has_driver", [True, False])
def test_auto_says_so_where_a_gpu_was_given_and_none_can_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, has_driver: bool
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices, "_GPU_FILES", (str(tmp_path),) if has_driver else ())
    assert not is_gpu("auto")
    assert caplog.text == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert not is_gpu("auto")
    assert "CUDA_VISIBLE_DEVICES gives GPU 0 to this process, but none can be used" in caplog.text
    assert not is_gpu("cpu")
    assert len(caplog.records) == 1


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
