"""A network on its device: numpy in, numpy out."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cohortseg.errors import CheckpointError, SettingsError
from cohortseg.networks.devices import cpu_has_bf16, device_name, is_gpu, pick_device
from cohortseg.networks.facts import NetworkFacts
from cohortseg.networks.kinds import Kind, kind_of
from cohortseg.networks.models import find_network
from cohortseg.networks.size import SizeModel, load_size_model
from cohortseg.settings import SegmentSettings
from cohortseg.settings.weights import Weights

AnyField = Any
"""float32, an array of numpy or, from a GPU, a tensor."""


class Backend(Protocol):
    """What runs a network; gives the fields, (3, y, x), and the style, (features,), of each tile, in order."""

    @property
    def precision(self) -> str:
        """`fp32` or `bf16`."""

    @property
    def torch_device(self) -> str | None:
        """Where `overlapped` leaves its outputs, as tensors: the device's name in torch; None for arrays."""

    def each(
        self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None
    ) -> Generator[tuple[NDArray[np.float32], NDArray[np.float32]], None, None]:
        """Run a few tiles, for the least delay; gives arrays."""

    def overlapped(
        self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None
    ) -> Generator[tuple[AnyField, AnyField], None, None]:
        """Run many tiles, several under way at once."""


_FAMILIES = {"residual-unet": Kind.RESIDUAL_UNET, "cellpose4": Kind.CELLPOSE4}


class Network:
    """A checkpoint on a device, ready to run, with its size model where there is one.

    Attributes
    ----------
    backend
        `openvino` or `torch`: what runs it.
    precision
        `fp32` or `bf16`: of weights and activations; inputs and outputs are float32.
    device_name
        What a report says of the device.
    diameter_px, scale_free, sha256, n_channels, n_inputs, stride_px
        As in `NetworkFacts`.
    torch_device
        Where `stream` leaves its fields, as tensors: the device's name in torch; None for arrays on the host.
    size_model
        Predicts the diameter of an image's cells; None where there is no size model.
    weights
        The files that it was loaded from.
    """

    def __init__(
        self,
        facts: NetworkFacts,
        runner: Backend,
        weights: Weights,
        *,
        size_model: SizeModel | None,
        backend: str,
        device: str,
    ) -> None:
        self.backend = backend
        self.precision = runner.precision
        self.torch_device = runner.torch_device
        self.device_name = device
        self.weights = weights
        self.diameter_px = facts.diameter_px
        self.scale_free = facts.scale_free
        self.sha256 = facts.sha256
        self.n_channels = facts.n_channels
        self.n_inputs = facts.n_inputs
        self.stride_px = facts.stride_px
        self.size_model = size_model
        self._runner = runner

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
            If the device is not there, or has not the precision that was asked for.
        """
        gpu = is_gpu(settings.device)
        weights = find_network(settings)
        path = Path(weights.checkpoint)
        kind = _checked_kind(path, weights)
        backend = _backend(settings, gpu, kind)
        load = _with_openvino if backend == "openvino" else _with_cellpose if kind is Kind.CELLPOSE4 else _with_torch
        facts, runner = load(path, settings)
        size_model = None if weights.size_model is None else _size_model(Path(weights.size_model), facts)
        device = device_name(pick_device("cuda")) if gpu else "cpu"
        return cls(facts, runner, weights, size_model=size_model, backend=backend, device=device)

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network on a few tiles; on a CPU the outputs of each are those that it has alone.

        Parameters
        ----------
        batch
            (n, channels, y, x) float32, n at least 1, sides multiples of `stride_px`.

        Returns
        -------
        tuple
            (n, 3, y, x) float32: flow y, flow x (five times a unit step), cell probability before the sigmoid; and the
            style vectors, (n, features) float32.

        Raises
        ------
        DeviceError
            If a GPU has not enough memory for one tile.
        """
        with closing(self._runner.each(iter(batch), len(batch))) as outputs:
            fields, styles = zip(*outputs, strict=True)
        return np.stack(fields), np.stack(styles)

    def stream(self, tiles: Iterator[NDArray[np.float32]], batch_size: int | None) -> Generator[AnyField, None, None]:
        """Run the network on many tiles, several of them under way at once.

        Parameters
        ----------
        tiles
            (channels, y, x) float32, all of one shape, sides multiples of `stride_px`. They are taken ahead of need: as
            many as are under way, and no more.
        batch_size
            Tiles that a GPU takes at once; None for as many as its free memory holds. Without meaning on a CPU.

        Yields
        ------
        numpy.ndarray or torch.Tensor
            (3, y, x) float32, as `forward` gives them, in the order of the tiles, where `torch_device` says. Of a
            residual U-Net on a CPU the same to the last bit as from `forward`, whatever the number of threads.

        Raises
        ------
        DeviceError
            If a GPU has not enough memory for one tile.
        """
        with closing(self._runner.overlapped(tiles, batch_size)) as outputs:
            for fields, _ in outputs:
                yield fields


def _checked_kind(path: Path, weights: Weights) -> Kind:
    """Return what the checkpoint is, after checking that a network that was named is what its name says."""
    kind = kind_of(path)
    if weights.entry is not None and kind in _FAMILIES.values() and kind is not _FAMILIES[weights.entry.family]:
        raise CheckpointError(
            f"{path} is {kind}",
            f"model '{weights.entry.name}' is {_FAMILIES[weights.entry.family]}",
            "Put the right file there, or name the file with model_path (--model-path).",
        )
    return kind


def _backend(settings: SegmentSettings, gpu: bool, kind: Kind) -> str:
    if gpu and settings.backend == "openvino":
        raise SettingsError(
            "backend 'openvino' was asked for, and device 'auto' is a GPU here",
            "OpenVINO runs on the CPU alone",
            "Set device: cpu, or backend: auto.",
        )
    if settings.backend == "openvino" and kind is Kind.CELLPOSE4:
        raise SettingsError(
            f"backend 'openvino' was asked for, and the network is {kind}",
            "those run in torch alone",
            "Set backend: auto or backend: torch.",
        )
    if settings.backend == "auto":
        return "torch" if gpu or kind is Kind.CELLPOSE4 else "openvino"
    return settings.backend


def _with_openvino(path: Path, settings: SegmentSettings) -> tuple[NetworkFacts, Backend]:
    from cohortseg.networks.converted import load_converted
    from cohortseg.networks.on_openvino import OpenVinoBackend

    model, facts = load_converted(path)
    return facts, OpenVinoBackend(model, facts, settings.precision)


def _with_torch(path: Path, settings: SegmentSettings) -> tuple[NetworkFacts, Backend]:
    from cohortseg.networks.checkpoint import load_checkpoint
    from cohortseg.networks.on_torch import TorchCpuBackend, TorchGpuBackend

    checkpoint, device = load_checkpoint(path), pick_device(settings.device)
    if device.type == "cuda":
        return checkpoint.facts, TorchGpuBackend(checkpoint.network, device, settings.precision)
    return checkpoint.facts, TorchCpuBackend(checkpoint.network, settings.precision)


def _with_cellpose(path: Path, settings: SegmentSettings) -> tuple[NetworkFacts, Backend]:
    from cohortseg.networks.on_cellpose4 import load_cellpose4
    from cohortseg.networks.on_torch import TorchCpuBackend, TorchGpuBackend

    (network, facts), device = load_cellpose4(path), pick_device(settings.device)
    if device.type == "cuda":
        return facts, TorchGpuBackend(network, device, settings.precision)
    return facts, TorchCpuBackend(network, settings.precision, has_bf16=cpu_has_bf16())


def _size_model(path: Path, facts: NetworkFacts) -> SizeModel:
    model = load_size_model(path)
    if model.n_style != facts.n_style:
        style = f"a style of {facts.n_style} values" if facts.n_style else "no style"
        raise CheckpointError(
            f"the size model {path.name} needs a style of {model.n_style} values, but the network has {style}",
            "the checkpoint that the size model was trained with was expected",
            "Set model_path (--model-path) to that Cellpose checkpoint, or leave size_model_path out.",
        )
    return model
