"""A network of Cellpose's size that computes what the built-in, smaller one does: the same work, sensible cells."""

from pathlib import Path

import torch
from torch import Tensor

from cohortseg.networks.checkpoint import load_checkpoint
from cohortseg.networks.models import find_checkpoint
from cohortseg.networks.unet import ResidualUNet
from cohortseg.settings import SegmentSettings

WIDTHS = (2, 32, 64, 128, 256)
"""Channels of the input and of each level of Cellpose 1 to 3's own networks: 6.6 million parameters."""


def write_wide_checkpoint(path: Path) -> None:
    """Write such a network as Cellpose 1 to 3 write theirs.

    The channels that the smaller network has not are busy with random weights, since zeros are cheaper to multiply,
    but nothing leads from them to its own; nor from the style.
    """
    small = load_checkpoint(find_checkpoint(SegmentSettings(model="nuclei-mini"))).network.state_dict()
    network = ResidualUNet(WIDTHS, styled=True)
    random = torch.Generator().manual_seed(0)
    state = {name: _widened(name, wide, small[name], random) for name, wide in network.state_dict().items()}
    torch.save(state, path)


def _widened(name: str, wide: Tensor, small: Tensor, random: torch.Generator) -> Tensor:
    if name.endswith(".full.weight"):  # it maps the style, which the smaller network has not
        return torch.zeros_like(wide)
    if small.shape == wide.shape and small.ndim != 4:
        return small
    filled = torch.ones_like(wide) if name.endswith("running_var") else torch.zeros_like(wide)
    if wide.ndim == 4:
        n_out, n_in = small.shape[:2]
        filled = torch.randn(wide.shape, generator=random) * wide[0].numel() ** -0.5
        filled[:n_out, n_in:] = 0
    elif name.endswith("weight"):
        filled = torch.ones_like(wide)
    filled[tuple(slice(0, n) for n in small.shape)] = small
    return filled
