"""What is known of a network besides its weights."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class NetworkFacts:
    """What a segmentation needs to know of a network.

    Attributes
    ----------
    widths
        Channels of the input and of each level.
    styled
        Whether the style vector steers the decoder.
    diameter_px
        Diameter of a cell, in the pixels that the network was trained on.
    sha256
        Of the checkpoint file.
    """

    widths: tuple[int, ...]
    styled: bool
    diameter_px: float
    sha256: str

    @property
    def n_inputs(self) -> int:
        """Channels that it was trained on: ours have seen one, their second input was always empty."""
        return self.widths[0] if self.styled else 1

    @property
    def stride_px(self) -> int:
        """The input's height and width must be multiples of this."""
        return int(2 ** (len(self.widths) - 2))


def assumed_diameter_px(path: Path) -> float:
    """Return the diameter that goes with a checkpoint without one, by its name, as Cellpose 1 to 3 do."""
    return 17.0 if path.name.startswith("nuclei") else 30.0
