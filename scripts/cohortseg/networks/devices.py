"""Where a network runs, in which precision, and on how many threads."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cohortseg.errors import DeviceError

if TYPE_CHECKING:
    import torch

    from cohortseg.networks.claims import GpuClaim

_LOGGER = logging.getLogger("cohortseg")

# What the drivers of NVIDIA, of AMD and of Windows' Linux make where they see a GPU.
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")

_asked_threads: int | None = None
_wants_own_gpu = False
_claim: GpuClaim | None = None


def pick_device(name: str) -> torch.device:
    """Return the device for `auto`, `cuda` or `cpu`; auto takes a GPU where there is one.

    The GPU is the first that `CUDA_VISIBLE_DEVICES` leaves; in a process that called `use_own_gpu`, the one that it
    holds.

    Raises
    ------
    DeviceError
        If `cuda` is asked for and no GPU can be used. There is no fall-back.
    """
    import torch

    if name != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", _own_gpu()) if _wants_own_gpu else torch.device("cuda")
    if name == "cuda":
        raise DeviceError(
            "device 'cuda' was asked for, but no GPU can be used here",
            _seen(),
            "Set device: cpu or device: auto, or run on a machine with a GPU, its driver and a CUDA build of torch.",
        )
    if name == "auto":
        _warn_of_a_lost_gpu()
    return torch.device("cpu")


def is_gpu(name: str) -> bool:
    """Tell whether the device for `auto`, `cuda` or `cpu` is a GPU; asks torch only where there could be one.

    Raises
    ------
    DeviceError
        As `pick_device` does.
    """
    if name == "auto" and sys.platform == "linux" and not _drivers():
        _warn_of_a_lost_gpu()
        return False
    return name != "cpu" and pick_device(name).type == "cuda"


def use_own_gpu() -> None:
    """Let this process, once it needs a GPU, take one that no other such process of this user has, or wait for one.

    So the jobs of a workflow spread over the GPUs of a workstation. A single GPU in `CUDA_VISIBLE_DEVICES` was given to
    the job, as schedulers do: it is used without waiting.
    """
    global _wants_own_gpu
    _wants_own_gpu = True


def _own_gpu() -> int:
    """Return the index of the GPU that this process holds, taken when it is first asked for."""
    global _claim
    if _claim is None:
        import torch

        from cohortseg.networks.claims import claim_gpu, lock_folder

        gpus = [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]
        _claim = claim_gpu(gpus, lock_folder(), given=len(_given_gpus() or ()) == 1)
        # Pinned memory and whatever names no device goes to the current one.
        torch.cuda.set_device(_claim.index)
        _LOGGER.info("GPU %d of %d: %s", _claim.index, len(gpus), torch.cuda.get_device_name(_claim.index))
    return _claim.index


def _given_gpus() -> list[str] | None:
    """Return what `CUDA_VISIBLE_DEVICES` names, up to the first that is none, as CUDA reads it; None: it is not set."""
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    hidden = next((i for i, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
    return names[:hidden]


def _drivers() -> list[str]:
    return [file for file in _GPU_FILES if Path(file).exists()]


def _seen() -> str:
    """Return what there is to see of GPUs, for messages."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    build = torch.version.cuda or torch.version.hip
    return ", ".join(
        [
            f"torch {torch.__version__} ({f'built for {build}' if build else 'a build without GPUs'})"
            f" sees {torch.cuda.device_count()} GPUs",
            "CUDA_VISIBLE_DEVICES is " + ("not set" if given is None else repr(given)),
            f"of the drivers' files {' '.join(_GPU_FILES)} there is {' '.join(_drivers()) or 'none'}",
        ]
    )


def _warn_of_a_lost_gpu() -> None:
    """Say so where a GPU was given to this process and `auto` takes the CPU all the same."""
    given = _given_gpus()
    if given:
        _LOGGER.warning(
            "CUDA_VISIBLE_DEVICES gives GPU %s to this process, but none can be used; the network runs on the CPU. "
            "device: cuda fails here, and says what is to be seen.", ", ".join(given),
        )  # fmt: skip


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
