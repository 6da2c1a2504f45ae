"""What becomes of fields that stay on a device: the counterpart of `segment.maths.HostMaths`."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cohortseg.arrays import Box, Labels
from cohortseg.on_device.follow import follow_flow
from cohortseg.on_device.group import group_ends
from cohortseg.on_device.resample import resample
from cohortseg.on_device.sums import mean_probability
from cohortseg.on_device.targets import Cells, flow_errors
from cohortseg.on_device.turns import Turns

Grouped = tuple[Labels, NDArray[np.int32], NDArray[np.float32]]
"""(y, x) labels from 1, their (n, 2) seeds (y, x) and their (n,) flow errors."""


class DeviceMaths:
    """Blends fields and groups the pixels of windows on one device; labels and numbers by cell come back.

    All methods may be called from any thread. What they give to the host is the same, byte for byte, in every run:
    where the order of operations is not fixed on a GPU, they are sums, maxima and minima of whole numbers, or
    maxima of floating-point numbers.

    Parameters
    ----------
    device
        As torch names it: `cuda`, or `cpu`, where the same code runs.
    """

    def __init__(self, device: str) -> None:
        self._turns = Turns(device)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Return a new field of zeros."""
        return self._turns.fitting(lambda: torch.zeros(shape, device=self._turns.device), f"a field of {shape}")

    def copy(self, field: Tensor) -> Tensor:
        """Return a copy of a part of a field."""
        return self._turns.fitting(field.clone, f"a copy of a field of {tuple(field.shape)}")

    def add_weighted(
        self, target: Tensor, values: Tensor, weights_y: NDArray[np.float32], weights_x: NDArray[np.float32]
    ) -> None:
        """Add values times their weights to a field, in place; see `kernels.blend`."""

        def weighted() -> Tensor:
            on_y, on_x = (self._turns.to_device(weights) for weights in (weights_y, weights_x))
            return values * (on_y[:, None] * on_x)

        target += self._turns.fitting(weighted, f"a tile of {tuple(values.shape)}")

    def resample(
        self, field: Tensor, held: Box, source_shape: tuple[int, int], target: Box, target_shape: tuple[int, int]
    ) -> Tensor:
        """Return one box of a field at another scale."""
        return self._turns.take(
            lambda: resample(field, held, source_shape, target, target_shape),
            uses=field,
            what=f"a window resampled to {target.height} x {target.width} px",
        )

    def group(self, flow: Tensor, logits: Tensor, *, threshold: float, niter: int, image: Box) -> Grouped:
        """Follow the flow, group what ends together and tell the flow error; see `segment.maths`."""
        shape = (logits.shape[0], logits.shape[1])

        def work() -> Grouped:
            at = (logits > threshold).flatten().nonzero().flatten()  # waits for the device, for their number
            found, seeds = group_ends(follow_flow(flow, at, niter=niter, image=image), shape)
            errors = flow_errors(Cells.of(at, found, len(seeds), shape), flow)
            labels = torch.zeros(shape, dtype=torch.int32, device=flow.device)
            labels.view(-1)[at] = found
            places = torch.stack([seeds // shape[1], seeds % shape[1]], dim=1).int()
            on_host = [self._turns.to_host(values) for values in (labels, places, errors.float())]
            return on_host[0].view(np.uint32), on_host[1].astype(np.int32), on_host[2].astype(np.float32)

        return self._turns.take(work, uses=flow, what=_window(flow))

    def mean_probability(self, labels: Labels, logits: Tensor) -> NDArray[np.float32]:
        """Return the mean probability of each label, (n,) float32."""
        n_labels = int(labels.max(initial=np.uint32(0)))

        def work() -> NDArray[np.float32]:
            flat = self._turns.to_device(labels.view(np.int32)).flatten()
            labelled = flat.nonzero().flatten()  # waits for the device, for their number
            means = mean_probability(logits.flatten()[labelled], flat[labelled].long() - 1, n_labels)
            return self._turns.to_host(means.float()).astype(np.float32)

        return self._turns.take(work, uses=logits, what=_window(logits))


def _window(field: Tensor) -> str:
    return f"a window of {field.shape[-2]} x {field.shape[-1]} px"
