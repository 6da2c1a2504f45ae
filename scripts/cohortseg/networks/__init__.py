"""Networks: architectures, checkpoints, devices, forward passes. numpy outside, torch and OpenVINO inside."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohortseg.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from cohortseg.networks.devices import pick_device, use_own_gpu, use_threads
    from cohortseg.networks.forward import Network
    from cohortseg.networks.models import find_checkpoint
    from cohortseg.networks.size import SizeModel, load_size_model

__all__ = [
    "Checkpoint",
    "Network",
    "SizeModel",
    "find_checkpoint",
    "load_checkpoint",
    "load_size_model",
    "pick_device",
    "save_checkpoint",
    "use_own_gpu",
    "use_threads",
]

_PLACES = {
    "Checkpoint": "checkpoint",
    "Network": "forward",
    "SizeModel": "size",
    "find_checkpoint": "models",
    "load_checkpoint": "checkpoint",
    "load_size_model": "size",
    "pick_device": "devices",
    "save_checkpoint": "checkpoint",
    "use_own_gpu": "devices",
    "use_threads": "devices",
}


def __getattr__(name: str) -> Any:
    """Import a part when it is first used: what runs in OpenVINO alone does not pay two seconds for torch."""
    if name in _PLACES:
        return getattr(import_module(f"cohortseg.networks.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'cohortseg.networks' has no attribute {name!r}")
