"""Where a network runs."""

import torch

from cohortseg.errors import DeviceError


def pick_device(name: str) -> torch.device:
    """Return the device for `auto`, `cuda` or `cpu`; auto takes a GPU where there is one.

    Raises
    ------
    DeviceError
        If `cuda` is asked for and no GPU can be used. There is no fall-back.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "device 'cuda' was asked for, but no GPU can be used here",
            f"torch {torch.__version__} reports {torch.cuda.device_count()} GPUs",
            "Set device: cpu or device: auto, or run on a machine with a GPU and a CUDA build of torch.",
        )
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what a report says of the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def use_threads(n_threads: int) -> None:
    """Set how many threads a forward pass on the CPU takes; the result does not depend on it."""
    torch.set_num_threads(n_threads)
