"""From the cells of single planes to cells in 3D: overlaps, one-to-one links, objects."""

from cohortseg.stitch.link import PlaneCells, check_stack, drop_short, link_stack, pairs_of
from cohortseg.stitch.objects import object_polygons, summarise_objects
from cohortseg.stitch.planes import stitch_planes
from cohortseg.stitch.quality import describe_links

__all__ = [
    "PlaneCells",
    "check_stack",
    "describe_links",
    "drop_short",
    "link_stack",
    "object_polygons",
    "pairs_of",
    "stitch_planes",
    "summarise_objects",
]
