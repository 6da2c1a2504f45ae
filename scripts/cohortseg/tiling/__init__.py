"""Planning, without pixels: tiles for the network, the seams between them, windows for the post-processing."""

from cohortseg.tiling.blocks import blocks
from cohortseg.tiling.tiles import AxisTiles, TileGrid, plan_tiles
from cohortseg.tiling.windows import WHOLE, Part, Strip, Window, plan_strips, select_part, window_borders

__all__ = [
    "WHOLE",
    "AxisTiles",
    "Part",
    "Strip",
    "TileGrid",
    "Window",
    "blocks",
    "plan_strips",
    "plan_tiles",
    "select_part",
    "window_borders",
]
