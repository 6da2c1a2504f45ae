"""From the cells of single planes to cells in 3D: overlaps, one-to-one links, objects."""

from cohortseg.stitch.link import link_planes
from cohortseg.stitch.objects import object_polygons, summarise_objects
from cohortseg.stitch.overlap import Plane, plane_overlaps
from cohortseg.stitch.planes import plane_from_polygons, stitch_planes

__all__ = [
    "Plane",
    "link_planes",
    "object_polygons",
    "plane_from_polygons",
    "plane_overlaps",
    "stitch_planes",
    "summarise_objects",
]
