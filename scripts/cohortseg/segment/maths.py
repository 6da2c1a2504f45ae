"""What is done to fields, and where: on the host, or on the device on which the network leaves them."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field, Flow, Labels, Logits
from cohortseg.kernels.blend import add_weighted
from cohortseg.kernels.clean import flow_errors
from cohortseg.kernels.follow import follow_flow
from cohortseg.kernels.group import group_endpoints
from cohortseg.kernels.resample import resample
from cohortseg.kernels.targets import flow_targets

AnyField = Any
"""(channel, y, x) float32: an array of numpy on the host, or a tensor on a device. Both are indexed alike."""

Grouped = tuple[Labels, NDArray[np.int32], NDArray[np.float32]]
"""(y, x) labels numbered from 1 in the (y, x) order of their seeds; the (n, 2) seeds (y, x); the (n,) flow errors."""


class FieldMaths(Protocol):
    """What the engine does to fields; `HostMaths` and `on_device.DeviceMaths` do it, and give the same cells."""

    def zeros(self, shape: tuple[int, ...]) -> AnyField:
        """Return a new field of zeros."""

    def copy(self, field: AnyField) -> AnyField:
        """Return a copy of a part of a field."""

    def add_weighted(
        self, target: AnyField, values: AnyField, weights_y: NDArray[np.float32], weights_x: NDArray[np.float32]
    ) -> None:
        """Add values times their weights, by row and by column, to a field of the same shape, in place."""

    def resample(
        self, field: AnyField, held: Box, source_shape: tuple[int, int], target: Box, target_shape: tuple[int, int]
    ) -> AnyField:
        """Return one box of a field at another scale; see `kernels.resample`."""

    def group(self, flow: AnyField, logits: AnyField, *, threshold: float, niter: int, image: Box) -> Grouped:
        """Follow the flow, group what ends together, and tell how far the flow lies from that of each cell's shape.

        Parameters
        ----------
        flow, logits
            (2, y, x), flow y and x, and (y, x), cell probability before the sigmoid.
        threshold
            Pixels with logits above it belong to cells.
        niter, image
            As in `kernels.follow`.
        """

    def mean_probability(self, labels: Labels, logits: AnyField) -> NDArray[np.float32]:
        """Return the mean probability of each of the labels 1 to n, (n,), from (y, x) logits."""


@dataclass(frozen=True)
class HostMaths:
    """Fields on the host, by the kernels; the result does not depend on the number of threads."""

    n_threads: int = 1

    def zeros(self, shape: tuple[int, ...]) -> Field:
        """Return a new field of zeros."""
        return np.zeros(shape, np.float32)

    def copy(self, field: Field) -> Field:
        """Return a copy of a part of a field."""
        return field.copy()

    def add_weighted(
        self, target: Field, values: Field, weights_y: NDArray[np.float32], weights_x: NDArray[np.float32]
    ) -> None:
        """Add values times their weights to a field, in place."""
        add_weighted(target, values, weights_y, weights_x)

    def resample(
        self, field: Field, held: Box, source_shape: tuple[int, int], target: Box, target_shape: tuple[int, int]
    ) -> Field:
        """Return one box of a field at another scale."""
        return resample(field, held, source_shape, target, target_shape)

    def group(self, flow: Flow, logits: Logits, *, threshold: float, niter: int, image: Box) -> Grouped:
        """Follow the flow, group what ends together and tell the flow error."""
        flow, inside = np.ascontiguousarray(flow), logits > threshold
        ends = follow_flow(flow, inside, niter=niter, image=image, n_threads=self.n_threads)
        labels, seeds = group_endpoints(ends, inside)
        return labels, seeds, flow_errors(labels, flow, flow_targets(labels, n_threads=self.n_threads))[1:]

    def mean_probability(self, labels: Labels, logits: Logits) -> NDArray[np.float32]:
        """Return the mean probability of each label."""
        inside = labels > 0
        counts = np.bincount(labels[inside])
        sums = np.bincount(labels[inside], weights=1 / (1 + np.exp(-logits[inside].astype(np.float64))))
        return (sums[1:] / np.maximum(counts[1:], 1)).astype(np.float32)


ON_HOST = HostMaths()
