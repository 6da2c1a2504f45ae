"""Where a network runs, in which precision, and on how many threads."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cohortseg.errors import DeviceError

if TYPE_CHECKING:
    import torch

# What the drivers of NVIDIA, of AMD and of Windows' Linux make where they see a GPU.
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")

_asked_threads: int | None = None


def pick_device(name: str) -> torch.device:
    """Return the device for `auto`, `cuda` or `cpu`; auto takes a GPU where there is one.

    Raises
    ------
    DeviceError
        If `cuda` is asked for and no GPU can be used. There is no fall-back.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "device 'cuda' was asked for, but no GPU can be used here",
            f"torch {torch.__version__} reports {torch.cuda.device_count()} GPUs",
            "Set device: cpu or device: auto, or run on a machine with a GPU and a CUDA build of torch.",
        )
    return torch.device(name)


def is_gpu(name: str) -> bool:
    """Tell whether the device for `auto`, `cuda` or `cpu` is a GPU; asks torch only where there could be one.

    Raises
    ------
    DeviceError
        As `pick_device` does.
    """
    linux_without_driver = sys.platform == "linux" and not any(Path(file).exists() for file in _GPU_FILES)
    if name == "cpu" or (name == "auto" and linux_without_driver):
        return False
    return pick_device(name).type == "cuda"


def device_name(device: torch.device) -> str:
    """Return what a report says of the device."""
    if device.type == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name(device)


def pick_precision(name: str, has_bf16: bool, where: str) -> Literal["fp32", "bf16"]:
    """Return the precision for `auto`, `fp32` or `bf16`; auto takes bf16 where the hardware has it.

    Parameters
    ----------
    where
        The hardware and what runs on it, for the message.

    Raises
    ------
    DeviceError
        If `bf16` is asked for and the hardware has none. There is no fall-back.
    """
    if name == "bf16" and not has_bf16:
        raise DeviceError(
            "precision 'bf16' was asked for",
            f"{where} has no arithmetic in bf16",
            "Set precision: auto or precision: fp32.",
        )
    return "bf16" if has_bf16 and name != "fp32" else "fp32"


def cpu_has_bf16() -> bool:
    """Tell whether this CPU computes in bf16, as OpenVINO sees it."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def use_threads(n_threads: int) -> None:
    """Set how many threads the forward passes of this process take on a CPU; the result does not depend on it."""
    global _asked_threads
    _asked_threads = n_threads
    if "torch" in sys.modules:  # else it is told once it is needed
        tell_torch_threads()


def tell_torch_threads() -> None:
    """Set the threads of torch to what `use_threads` was told; leave them where it was not called."""
    import torch

    if _asked_threads is not None:
        torch.set_num_threads(_asked_threads)


def thread_count() -> int:
    """Return how many threads a forward pass takes on a CPU.

    As many as `use_threads` was told, else `OMP_NUM_THREADS`, else the CPUs that this process may run on.
    """
    if _asked_threads is not None:
        return _asked_threads
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), allowed) if asked.isdecimal() and int(asked) else allowed
