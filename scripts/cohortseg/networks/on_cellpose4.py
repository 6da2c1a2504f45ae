"""The transformers of Cellpose 4, whose code is in the package cellpose, made to run on tiles of any size."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cohortseg.errors import CheckpointError
from cohortseg.networks.checkpoint import read_tensors
from cohortseg.networks.facts import NetworkFacts

# Facts of Cellpose 4.2 (models.py, core.py, transforms.py of the package).
_DIAMETER_PX = 30.0
_CHANNELS = 3
_PATCH_PX = {"sam_vitl": 256, "dino_vitl": 384, "dino_vitb": 384}
_WIDTHS = {1024: "dino_vitl", 768: "dino_vitb"}
_OVERLAP = 0.1
_TAPER_PX = 7.5
_EDGE_PX = 20
# Cellpose pads images to multiples of it.
_STRIDE_PX = 16
# One patch keeps a few CPU cores busy; a GPU takes Cellpose's batch, which holds under 3 GB.
_AT_ONCE = {"cpu": 1, "cuda": 8}

N_FEATURES = 1
"""Length of the style, which has no meaning."""

_REMEDY = "Fetch it anew (cohortseg models fetch), or give a checkpoint that Cellpose 4 saved."


class Patches(nn.Module):
    """A network of square patches of one size, run on tiles of any size.

    A tile is cut into patches that overlap by a tenth at least, evenly spread, as `run_net` of Cellpose 4.2 does
    (core.py; the method is that of Stringer et al. 2021, Nature Methods 18:100). Where patches overlap, their outputs
    are averaged with weights that fall off to the edges as a sigmoid. A tile smaller than a patch is padded with zeros
    on all sides.

    Parameters
    ----------
    network
        Maps (n, channels, patch_px, patch_px) to a tuple that begins with (n, 3, patch_px, patch_px).
    patch_px
        Side of a patch.
    """

    def __init__(self, network: nn.Module, patch_px: int) -> None:
        super().__init__()
        self.network = network
        self.patch_px = patch_px
        self._taper = torch.from_numpy(taper(patch_px))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network.

        Parameters
        ----------
        x
            (n, channels, y, x) float.

        Returns
        -------
        tuple of Tensor
            (n, 3, y, x) float32: flow y, flow x (five times a unit step), cell probability before the sigmoid; and a
            style without meaning, (n, N_FEATURES) zeros.
        """
        height, width = x.shape[-2:]
        top, left = (max(0, self.patch_px - length) // 2 for length in (height, width))
        bottom, right = max(0, self.patch_px - height - top), max(0, self.patch_px - width - left)
        fields = self._blended(functional.pad(x, (left, right, top, bottom)))
        fields = fields[..., top : top + height, left : left + width]
        return fields.contiguous(), fields.new_zeros((len(x), N_FEATURES))

    def _blended(self, x: Tensor) -> Tensor:
        side, taper_1d = self.patch_px, self._taper.to(x.device)
        rows, columns = (patch_starts(length, side) for length in x.shape[-2:])
        places = [(i, np.s_[:, y0 : y0 + side, x0 : x0 + side]) for i in range(len(x)) for y0 in rows for x0 in columns]
        fields = torch.zeros((len(x), 3, *x.shape[-2:]), device=x.device)
        at_once = _AT_ONCE[x.device.type]
        for first in range(0, len(places), at_once):
            group = places[first : first + at_once]
            outputs = self.network(torch.stack([x[i][place] for i, place in group]))[0]
            for (i, place), output in zip(group, outputs, strict=True):
                fields[i][place] += output.float() * taper_1d[:, None] * taper_1d
        # The weights are products of a row's and a column's, and so are their sums over a grid.
        sums = [torch.zeros(length, device=x.device) for length in x.shape[-2:]]
        for total, starts in zip(sums, (rows, columns), strict=True):
            for start in starts:
                total[start : start + side] += taper_1d
        return fields / (sums[0][:, None] * sums[1])


def patch_starts(length_px: int, patch_px: int) -> list[int]:
    """Return where patches start along an axis of at least one patch: evenly spread, the last one at the end."""
    if length_px <= patch_px:
        return [0]
    count = int(np.ceil((1 + 2 * _OVERLAP) * length_px / patch_px))
    return [int(start) for start in np.linspace(0, length_px - patch_px, count)]


def taper(patch_px: int) -> NDArray[np.float32]:
    """Return the weight of each pixel of a patch along one axis, (patch_px,) float32: a half 20 px from the edge."""
    from_centre = np.abs(np.arange(patch_px) - (patch_px - 1) / 2)
    weights = 1 / (1 + np.exp((from_centre - (patch_px / 2 - _EDGE_PX)) / _TAPER_PX))
    return np.asarray(weights, np.float32)


def load_cellpose4(path: Path) -> tuple[Patches, NetworkFacts]:
    """Read a checkpoint of Cellpose 4; nothing in the file is executed.

    Returns
    -------
    tuple
        The network in evaluation mode, float32, on the CPU, its weights read from the file as they are needed; and what
        is known of it.

    Raises
    ------
    CheckpointError
        If the file is damaged or holds another network, or the package that has this one's code is not installed.
    """
    weights = read_tensors(path)
    backbone = _backbone(path, weights)
    network = _built(path, backbone)
    try:
        network.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise CheckpointError(
            f"{path.name} does not fit the {backbone} network of Cellpose 4 ({'; '.join(lines)[:300]})",
            "all of its parameters, with three outputs, and no others were expected",
            _REMEDY,
        ) from error
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    facts = NetworkFacts(
        n_channels=_CHANNELS,
        n_inputs=_CHANNELS,
        stride_px=_STRIDE_PX,
        n_style=0,
        diameter_px=_DIAMETER_PX,
        scale_free=True,
        sha256=sha256,
    )
    return Patches(network.eval(), _PATCH_PX[backbone]), facts


def check_cellpose4(path: Path) -> None:
    """Check that a file holds an encoder that Cellpose 4 has, which needs none of the code that runs it.

    Raises
    ------
    CheckpointError
        If the file is damaged or holds another network.
    """
    _backbone(path, read_tensors(path))


def _backbone(path: Path, weights: dict[str, Tensor]) -> str:
    """Return which encoder a state dict has, as Cellpose 4.2 tells them apart (models.py, get_backbone)."""
    if "encoder.cls_token" not in weights and "encoder.pos_embed" in weights:
        return "sam_vitl"
    projection = weights.get("encoder.patch_embed.proj.weight")
    width = None if projection is None else projection.shape[0]
    if "encoder.cls_token" not in weights or width not in _WIDTHS:
        raise CheckpointError(
            f"{path.name} has no encoder that Cellpose 4 has (its first parameter is {next(iter(weights))})",
            "SAM ViT-L, DINOv3 ViT-L or DINOv3 ViT-B was expected",
            _REMEDY,
        )
    return _WIDTHS[width]


def _built(path: Path, backbone: str) -> nn.Module:
    vit = _cellpose_vit()
    if backbone == "sam_vitl":
        with torch.device("meta"):  # 1.2 GB of weights that are replaced at once need not be made
            network: nn.Module = vit.CPSAM()
        return network
    if not hasattr(vit, "dinov3_vitl16"):
        raise CheckpointError(
            f"{path.name} is a network of Cellpose 4 with DINOv3, whose code is not installed",
            "the package dinov3 was expected",
            "Install it: pip install git+https://github.com/facebookresearch/dinov3",
        )
    network = vit.CPDINO(model_name=backbone[-4:])
    return network


def _cellpose_vit() -> Any:
    """Import the networks of the package, without the warning that DINOv3 is absent and without its change of TF32."""
    logger, tf32 = logging.getLogger("cellpose.vit"), torch.backends.cuda.matmul.allow_tf32
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from cellpose import vit
    finally:
        logger.setLevel(level)
        torch.backends.cuda.matmul.allow_tf32 = tf32
    return vit
