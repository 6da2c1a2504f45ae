"""How the planes of a stack were linked, as figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from cohortseg.report.figures import DOT, FLAGGED, INK, as_svg, new_figure


def iou_histogram(links: Mapping[str, Any], *, name: str) -> str:
    """Return an SVG with the IoU of all links of a stack, from its link report."""
    figure, axes = new_figure()
    axes.set_xlabel("IoU of linked cells")
    axes.set_ylabel("links")
    histogram = links["iou_histogram"]
    axes.stairs(histogram["counts"], histogram["edges"], color=DOT, linewidth=1.4)
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return as_svg(figure, f"iou {name}")


def starts_and_ends(links: Mapping[str, Any], *, name: str) -> str:
    """Return an SVG with the share of each plane's cells at which objects begin and end, odd planes marked."""
    figure, axes = new_figure()
    axes.set_xlabel("z index")
    axes.set_ylabel("share of cells")
    z_indices = np.array([plane["z_index"] for plane in links["planes"]])
    odd = np.array([bool(plane["suspicious"]) for plane in links["planes"]])
    for key, label, style in (("start_share", "objects begin", "-"), ("end_share", "objects end", "--")):
        share = np.array([plane[key] for plane in links["planes"]], float)
        axes.plot(z_indices, share, style, color=DOT, linewidth=1.4, marker="o", markersize=3, label=label)
        axes.plot(z_indices[odd], share[odd], "o", color=FLAGGED, markersize=5, markeredgewidth=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    return as_svg(figure, f"starts {name}")


def odd_planes(links: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each plane that looks odd beside its neighbours."""
    said = {
        "starts": "the share of objects that begin here differs from that of the planes around",
        "ends": "the share of objects that end here differs from that of the planes around",
        "same as below": "its cells are exactly those of the plane below: is it the same image?",
    }
    return [f"plane {plane['z_index']}: {said[reason]}" for plane in links["planes"] for reason in plane["suspicious"]]
