"""Batched forward passes: numpy in, numpy out."""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from cohortseg.errors import CheckpointError, DeviceError
from cohortseg.networks.checkpoint import Checkpoint, load_checkpoint
from cohortseg.networks.devices import device_name, pick_device
from cohortseg.networks.models import find_checkpoint
from cohortseg.networks.size import SizeModel, load_size_model
from cohortseg.settings import SegmentSettings


class Network:
    """A checkpoint on a device, ready to run, with its size model where the user gives one."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, size_model: SizeModel | None) -> None:
        self.device = device
        self.device_name = device_name(device)
        self.diameter_px = checkpoint.diameter_px
        self.sha256 = checkpoint.sha256
        self.n_channels = checkpoint.network.widths[0]
        self.n_inputs = checkpoint.n_inputs
        self.stride_px = checkpoint.network.stride_px
        self.size_model = size_model
        self._network = checkpoint.network.to(device).to(memory_format=torch.channels_last)

    @classmethod
    def of(cls, settings: SegmentSettings) -> Self:
        """Load the network that the settings of a segmentation name, onto the device that they name.

        Raises
        ------
        MissingFileError, SettingsError
            If there is no such network or file.
        CheckpointError
            If the checkpoint or the size model is damaged, or the two do not belong together.
        DeviceError
            If the device is not there.
        """
        device = pick_device(settings.device)
        checkpoint = load_checkpoint(find_checkpoint(settings))
        if settings.size_model_path is None:
            return cls(checkpoint, device, None)
        return cls(checkpoint, device, _size_model(Path(settings.size_model_path), checkpoint))

    @property
    def on_gpu(self) -> bool:
        """Whether the network runs on a GPU."""
        return self.device.type == "cuda"

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network: float32 on a CPU, bfloat16 on a GPU.

        Parameters
        ----------
        batch
            (n, channels, y, x) float32, sides multiples of `stride_px`.

        Returns
        -------
        tuple
            (n, 3, y, x) float32: flow y, flow x (five times a unit step), cell probability before the sigmoid; and the
            style vectors, (n, widths[-1]) float32.

        Raises
        ------
        DeviceError
            If the GPU runs out of memory.
        """
        tensor = torch.from_numpy(batch).to(self.device, memory_format=torch.channels_last)
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.on_gpu):
                fields, styles = self._network(tensor)
            return fields.float().contiguous().cpu().numpy(), styles.float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"{self.device_name} ran out of memory on a batch of {batch.shape[0]} tiles of {batch.shape[2:]} px",
                "the batch must fit the memory that is free",
                "Set a smaller pipeline.batch_size or pipeline.infer_size, or free the GPU.",
            ) from error


def _size_model(path: Path, checkpoint: Checkpoint) -> SizeModel:
    model, network = load_size_model(path), checkpoint.network
    if not network.styled or model.n_style != network.widths[-1]:
        style = f"a style of {network.widths[-1]} values" if network.styled else "no style"
        raise CheckpointError(
            f"the size model {path.name} needs a style of {model.n_style} values, but the network has {style}",
            "the checkpoint that the size model was trained with was expected",
            "Set model_path (--model-path) to that Cellpose checkpoint, or leave size_model_path out.",
        )
    return model
