"""Networks: architectures, checkpoints, devices, batched forward. numpy outside, torch inside."""

from cohortseg.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cohortseg.networks.devices import pick_device, use_threads
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
    "use_threads",
]
