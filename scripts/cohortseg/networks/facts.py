"""What is known of a network besides its weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class NetworkFacts:
    """What a segmentation needs to know of a network.

    Attributes
    ----------
    n_channels
        Channels of a tile.
    n_inputs
        How many of them, from the first, it was trained on.
    stride_px
        The sides of a tile must be multiples of this.
    n_style
        Values of the style vector that steers the decoder, which size models need; 0 where there is none.
    diameter_px
        Diameter of a cell, in the pixels that the network was trained on.
    scale_free
        Whether it was trained on cells of all sizes: an image whose diameter is unknown is then not scaled.
    sha256
        Of the checkpoint file.
    widths
        Channels of the input and of each level of a residual U-Net; empty for other networks.
    """

    n_channels: int
    n_inputs: int
    stride_px: int
    n_style: int
    diameter_px: float
    scale_free: bool
    sha256: str
    widths: tuple[int, ...] = ()

    @classmethod
    def of_unet(cls, widths: tuple[int, ...], styled: bool, n_inputs: int, diameter_px: float, sha256: str) -> Self:
        """Return what is known of a residual U-Net, with or without a style vector."""
        return cls(
            n_channels=widths[0],
            n_inputs=n_inputs,
            stride_px=int(2 ** (len(widths) - 2)),
            n_style=widths[-1] if styled else 0,
            diameter_px=diameter_px,
            scale_free=False,
            sha256=sha256,
            widths=widths,
        )


def assumed_diameter_px(path: Path) -> float:
    """Return the diameter that goes with a checkpoint without one, by its name, as Cellpose 1 to 3 do."""
    return 17.0 if path.name.startswith("nuclei") else 30.0
