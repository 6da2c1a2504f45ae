"""A network on its device: numpy in, numpy out."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cohortseg.errors import CheckpointError, SettingsError
from cohortseg.networks.devices import device_name, is_gpu, pick_device
from cohortseg.networks.facts import NetworkFacts
from cohortseg.networks.models import find_checkpoint
from cohortseg.networks.size import SizeModel, load_size_model
from cohortseg.settings import SegmentSettings


class Backend(Protocol):
    """What runs a network; gives the fields, (3, y, x), and the style, (features,), of each tile, in order."""

    @property
    def precision(self) -> str:
        """`fp32` or `bf16`."""

    def each(
        self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None
    ) -> Generator[tuple[NDArray[np.float32], NDArray[np.float32]], None, None]:
        """Run a few tiles, for the least delay."""

    def overlapped(
        self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None
    ) -> Generator[tuple[NDArray[np.float32], NDArray[np.float32]], None, None]:
        """Run many tiles, several under way at once."""


class Network:
    """A checkpoint on a device, ready to run, with its size model where the user gives one.

    Attributes
    ----------
    backend
        `openvino` or `torch`: what runs it.
    precision
        `fp32` or `bf16`: of weights and activations; inputs and outputs are float32.
    device_name
        What a report says of the device.
    diameter_px, sha256, n_inputs
        As in `NetworkFacts`.
    n_channels
        Channels of a tile.
    stride_px
        The sides of a tile must be multiples of this.
    """

    def __init__(
        self, facts: NetworkFacts, runner: Backend, size_model: SizeModel | None, *, backend: str, device: str
    ) -> None:
        self.backend = backend
        self.precision = runner.precision
        self.device_name = device
        self.diameter_px = facts.diameter_px
        self.sha256 = facts.sha256
        self.n_channels = facts.widths[0]
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
        path = find_checkpoint(settings)
        backend = _backend(settings, gpu)
        facts, runner = _with_openvino(path, settings) if backend == "openvino" else _with_torch(path, settings)
        size_model = None if settings.size_model_path is None else _size_model(Path(settings.size_model_path), facts)
        device = device_name(pick_device("cuda")) if gpu else "cpu"
        return cls(facts, runner, size_model, backend=backend, device=device)

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network on a few tiles; the outputs of each are those that it has alone.

        Parameters
        ----------
        batch
            (n, channels, y, x) float32, n at least 1, sides multiples of `stride_px`.

        Returns
        -------
        tuple
            (n, 3, y, x) float32: flow y, flow x (five times a unit step), cell probability before the sigmoid; and the
            style vectors, (n, widths[-1]) float32.

        Raises
        ------
        DeviceError
            If a GPU has not enough memory for one tile.
        """
        with closing(self._runner.each(iter(batch), len(batch))) as outputs:
            fields, styles = zip(*outputs, strict=True)
        return np.stack(fields), np.stack(styles)

    def stream(
        self, tiles: Iterator[NDArray[np.float32]], batch_size: int | None
    ) -> Generator[NDArray[np.float32], None, None]:
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
        numpy.ndarray
            (3, y, x) float32, as `forward` gives them, in the order of the tiles. On a CPU the same to the last bit as
            from `forward`, whatever the number of threads.

        Raises
        ------
        DeviceError
            If a GPU has not enough memory for one tile.
        """
        with closing(self._runner.overlapped(tiles, batch_size)) as outputs:
            for fields, _ in outputs:
                yield fields


def _backend(settings: SegmentSettings, gpu: bool) -> str:
    if gpu and settings.backend == "openvino":
        raise SettingsError(
            "backend 'openvino' was asked for, and device 'auto' is a GPU here",
            "OpenVINO runs on the CPU alone",
            "Set device: cpu, or backend: auto.",
        )
    if settings.backend == "auto":
        return "torch" if gpu else "openvino"
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


def _size_model(path: Path, facts: NetworkFacts) -> SizeModel:
    model = load_size_model(path)
    if not facts.styled or model.n_style != facts.widths[-1]:
        style = f"a style of {facts.widths[-1]} values" if facts.styled else "no style"
        raise CheckpointError(
            f"the size model {path.name} needs a style of {model.n_style} values, but the network has {style}",
            "the checkpoint that the size model was trained with was expected",
            "Set model_path (--model-path) to that Cellpose checkpoint, or leave size_model_path out.",
        )
    return model
