"""What is measured of an image, and what the columns are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cohortseg.stores.channels import channel_names

CELL = ""
NUCLEUS = "nucleus"
CYTOPLASM = "cytoplasm"
RING = "ring"
"""The compartments, as they stand in the columns' names: mean_DAPI, mean_nucleus_DAPI."""

BACKGROUND = "background"


@dataclass(frozen=True)
class Wanted:
    """What is measured of an image's channels.

    Parameters
    ----------
    channels, names
        Which channels, and the name of each.
    statistics, percentiles
        What of each; see `quantify.intensity.Intensities`.
    ring_px
        Reach of the rings around cells that are measured too; see `kernels.compartments.ring_labels`. None: none.
    background
        What is subtracted; see `quantify.background`. `ring` needs `ring_px`.
    """

    channels: Sequence[int]
    names: Sequence[str]
    statistics: Sequence[str] = ("mean",)
    percentiles: Sequence[float] = ()
    ring_px: int | None = None
    background: Literal["image", "ring"] | None = None

    def prefixes(self) -> list[str]:
        """Return how the columns of a channel begin: the statistics, then p5 for the percentile 5, p2_5 for 2.5."""
        return [*self.statistics, *(f"p{percentile:.12g}".replace(".", "_") for percentile in self.percentiles)]

    def columns(self, compartments: Sequence[str] = (CELL,)) -> list[str]:
        """Return the names of the columns: for each compartment those of the first channel first; then backgrounds."""
        names = channel_names(self.channels, self.names)
        starts = [f"{each}_" if each else "" for each in compartments]
        while True:
            columns = [f"{prefix}_{start}{name}" for start in starts for name in names for prefix in self.prefixes()]
            columns += [f"{BACKGROUND}_{name}" for name in names if self.background]
            if len({column.casefold() for column in columns}) == len(columns):
                return columns
            # Such as p2_5 of A, and p2 of a channel that is called 5_A.
            names = [f"{name}_{channel}" for channel, name in zip(self.channels, names, strict=True)]
