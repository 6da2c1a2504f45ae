"""What a segmentation needs of a network."""

from collections.abc import Generator, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cohortseg.segment.maths import AnyField


class StyleSize(Protocol):
    """What tells the diameter of cells from a style; `networks.SizeModel` is one."""

    def predict_px(self, style: NDArray[np.float32]) -> float:
        """Return the diameter in image pixels from the style, (features,), of the image at its own scale."""


class FieldNetwork(Protocol):
    """A network that gives dense fields of a batch of tiles; `networks.Network` is one.

    `n_channels` is what a batch has, `n_inputs` how many of them, from the first, the network was trained on;
    `scale_free` says that it was trained on cells of all sizes, so that nothing has to be scaled to `diameter_px`.
    """

    diameter_px: float
    scale_free: bool
    n_channels: int
    n_inputs: int
    stride_px: int

    @property
    def torch_device(self) -> str | None:
        """Where `stream` leaves its fields, as tensors: the device's name in torch; None for arrays on the host."""

    @property
    def size_model(self) -> StyleSize | None:
        """The size model that the user gave with the network, if any."""

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map (n, channels, y, x) float32 to (n, 3, y, x) fields and (n, features) styles."""

    def stream(self, tiles: Iterator[NDArray[np.float32]], batch_size: int | None) -> Generator[AnyField, None, None]:
        """Map (channels, y, x) float32 tiles of one shape to (3, y, x) fields, in order, left on `torch_device`.

        Takes tiles ahead of need, as many as it keeps under way and no more; `batch_size` is how many a GPU takes at
        once, None for as many as fit.
        """
