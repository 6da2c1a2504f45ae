"""Batched forward passes: numpy in, numpy out."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cohortseg.errors import DeviceError
from cohortseg.networks.checkpoint import Checkpoint, load_checkpoint
from cohortseg.networks.devices import device_name, pick_device


class Network:
    """A checkpoint on a device, ready to run."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.device = device
        self.device_name = device_name(device)
        self.diameter_px = checkpoint.diameter_px
        self.sha256 = checkpoint.sha256
        self.n_channels = checkpoint.network.widths[0]
        self.stride_px = checkpoint.network.stride_px
        self._network = checkpoint.network.to(device, memory_format=torch.channels_last)

    @classmethod
    def open(cls, path: Path, device: str) -> "Network":
        """Load a checkpoint and place it on `auto`, `cuda` or `cpu`."""
        return cls(load_checkpoint(path), pick_device(device))

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
