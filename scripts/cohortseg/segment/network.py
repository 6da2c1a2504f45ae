"""What a segmentation needs of a network."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FieldNetwork(Protocol):
    """A network that gives dense fields of a batch of tiles; `networks.Network` is one."""

    diameter_px: float
    n_channels: int
    stride_px: int

    @property
    def on_gpu(self) -> bool:
        """Whether larger batches pay."""

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map (n, channels, y, x) float32 to (n, 3, y, x) fields and (n, features) styles."""
