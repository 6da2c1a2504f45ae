"""Checkpoint files: ours, and those of Cellpose 1 to 3."""

import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cohortseg.errors import CheckpointError
from cohortseg.networks.facts import NetworkFacts, assumed_diameter_px
from cohortseg.networks.kinds import describe_unreadable, kind_of
from cohortseg.networks.unet import ResidualUNet

_FORMAT = "cohortseg residual U-Net 1"
_WIDTH_KEY = re.compile(r"downsample\.down\.res_down_(\d+)\.conv\.conv_0\.2\.weight")
_MOST_PARAMETERS = 10**9
_REMEDY = "Give a checkpoint of cohortseg or of Cellpose 1 to 3 (cyto, cyto2, cyto3, nuclei, or trained from them)."


@dataclass(frozen=True)
class Checkpoint:
    """A network with what is known of it.

    Attributes
    ----------
    network
        In evaluation mode, float32, on the CPU.
    diameter_px
        Diameter of a cell, in the pixels that the network was trained on.
    n_inputs
        Channels that it was trained on; its other inputs were always empty.
    sha256
        Of the file.
    """

    network: ResidualUNet
    diameter_px: float
    n_inputs: int
    sha256: str

    @property
    def facts(self) -> NetworkFacts:
        """What is known of it besides the weights."""
        return NetworkFacts.of_unet(
            self.network.widths, self.network.styled, self.n_inputs, self.diameter_px, self.sha256
        )

    @property
    def n_parameters(self) -> int:
        """Weights that were learned."""
        return sum(weights.numel() for weights in self.network.parameters() if weights.requires_grad)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is executed.

    Takes checkpoints of `save_checkpoint` and state dicts of Cellpose 1 to 3, with or without the prefix
    `module.` and with or without the diameters inside (where absent: 17 px for files whose name starts with `nuclei`,
    30 px otherwise, as those versions of Cellpose assume).

    Raises
    ------
    CheckpointError
        If the file is damaged or holds something else, saying what.
    """
    content = _read(path)
    ours = isinstance(content, dict) and content.get("format") == _FORMAT
    weights = _tensors(path, content.get("weights") if ours else content)
    widths = _widths(path, weights)
    network = ResidualUNet(widths, styled=not ours or content.get("styled") is True)
    missing, unexpected = _load(path, network, weights)
    missing = [key for key in missing if not key.startswith("diam_") and not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise CheckpointError(
            f"{path.name} is a U-Net of widths {list(widths)}, but {len(missing)} parameters are missing "
            f"and {len(unexpected)} unknown (such as {', '.join((missing + unexpected)[:3])})",
            "residual blocks with a style vector, without concatenation, were expected",
            _REMEDY,
        )
    if "diam_mean" not in weights:
        network.diam_mean.data.fill_(assumed_diameter_px(path))
    network.eval()
    diameter_px = float(network.diam_mean)
    if not 1 <= diameter_px <= 1000:
        raise CheckpointError(
            f"{path.name} says that its cells have a diameter of {diameter_px} px", "1 to 1000 were expected", _REMEDY
        )
    n_inputs = _n_inputs(path, content, widths[0]) if ours else widths[0]
    return Checkpoint(network, diameter_px, n_inputs, hashlib.sha256(path.read_bytes()).hexdigest())


def save_checkpoint(path: Path, network: ResidualUNet, n_inputs: int = 1) -> None:
    """Write a network that learned from `n_inputs` channels, in half precision, readable with `weights_only=True`."""
    weights = {
        key: (value.half() if value.dtype == torch.float32 else value).cpu()
        for key, value in network.state_dict().items()
    }
    content = {"format": _FORMAT, "styled": network.styled, "n_inputs": n_inputs, "weights": weights}
    torch.save(content, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return a state dict, float32, without the prefix `module.`; nothing in the file is executed.

    The tensors are read from the file as they are needed, so it must not be written to meanwhile.

    Raises
    ------
    CheckpointError
        If the file is damaged or holds something else, saying what.
    """
    return _tensors(path, _read(path, mmap=zipfile.is_zipfile(path)))


def _read(path: Path, *, mmap: bool = False) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # a damaged or hostile file can raise anything
        raise CheckpointError(
            f"{path.name} cannot be read as a checkpoint: {describe_unreadable(path, error)}",
            "a file of weights as torch saves them was expected",
            _REMEDY,
        ) from error


def _tensors(path: Path, weights: Any) -> dict[str, Tensor]:
    if not isinstance(weights, dict) or not weights or not all(isinstance(v, Tensor) for v in weights.values()):
        raise CheckpointError(
            f"{path.name} holds {type(weights).__name__}, not a table of weights",
            "a state dict (parameter names and tensors) was expected",
            _REMEDY,
        )
    # A few bytes can pose as a tensor of any shape.
    if sum(value.numel() for value in weights.values()) > _MOST_PARAMETERS:
        raise CheckpointError(
            f"{path.name} has more than {_MOST_PARAMETERS:,} parameters",
            "the residual U-Net of Cellpose 1 to 3 was expected",
            _REMEDY,
        )
    named = {str(key).removeprefix("module."): value.float() for key, value in weights.items()}
    if broken := [name for name, value in named.items() if not value.isfinite().all()]:
        raise CheckpointError(
            f"{path.name} has weights that are no numbers, in {broken[0]}",
            "finite weights were expected",
            "Give a checkpoint of a training that did not diverge.",
        )
    return named


def _widths(path: Path, weights: dict[str, Tensor]) -> tuple[int, ...]:
    convolutions = {int(m[1]): v for k, v in weights.items() if (m := _WIDTH_KEY.fullmatch(k)) and v.ndim == 4}
    if not convolutions or sorted(convolutions) != list(range(len(convolutions))):
        raise CheckpointError(
            f"{path.name} is {kind_of(path)} (its first parameter is {next(iter(weights))})",
            "the residual U-Net of Cellpose 1 to 3 was expected",
            _REMEDY,
        )
    return (convolutions[0].shape[1], *(convolutions[i].shape[0] for i in range(len(convolutions))))


def _n_inputs(path: Path, content: dict[str, Any], most: int) -> int:
    n_inputs = content.get("n_inputs", 1)  # not said by the first networks, which have seen one
    if not isinstance(n_inputs, int) or not 1 <= n_inputs <= most:
        raise CheckpointError(
            f"{path.name} says that it was trained on {str(n_inputs)[:20]} channels",
            f"1 to {most} were expected",
            _REMEDY,
        )
    return n_inputs


def _load(path: Path, network: ResidualUNet, weights: dict[str, Tensor]) -> tuple[list[str], list[str]]:
    try:
        result = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path.name} has parameters of other shapes ({str(error).splitlines()[1].strip()[:200]})",
            "two or more input channels and three outputs (flow y, flow x, cell probability) were expected",
            _REMEDY,
        ) from error
    return list(result.missing_keys), list(result.unexpected_keys)
