"""cohortseg: segments the cells of every image of a cohort, from a notebook, a command line or a workflow."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohortseg.api import segment_image
    from cohortseg.segment.cells import labels_from_flows
    from cohortseg.shapes import polygonise, rasterise
    from cohortseg.stitch import stitch_planes

__version__ = "0.1.0"
__all__ = ["labels_from_flows", "polygonise", "rasterise", "segment_image", "stitch_planes"]

_PLACES = {
    "labels_from_flows": "cohortseg.segment.cells",
    "polygonise": "cohortseg.shapes",
    "rasterise": "cohortseg.shapes",
    "segment_image": "cohortseg.api",
    "stitch_planes": "cohortseg.stitch",
}


def __getattr__(name: str) -> Any:
    """Import a public function when it is first used, so that cheap jobs do not pay for torch."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'cohortseg' has no attribute {name!r}")
