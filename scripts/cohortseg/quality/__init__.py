"""What tells whether an image and its cells are to be trusted: from blocks of pixels and labels to a few numbers."""

from cohortseg.quality.channels import ChannelQuality, Segmented
from cohortseg.quality.distributions import CELL_COLUMNS, describe_cells
from cohortseg.quality.tiles import TileCover

__all__ = ["CELL_COLUMNS", "ChannelQuality", "Segmented", "TileCover", "describe_cells"]
