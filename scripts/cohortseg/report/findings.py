"""What in a summary deserves a look: samples without cells, unlike their peers, or at odds with their truth."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_MIN_PEERS = 6
_FAR = 3.5
_FOLD = 2.0
_EDGE_SHARE = 0.5
_MIN_CELLS_FOR_SHARES = 10
_POOR_AP50 = 0.5

RULES = (
    "no cells were found",
    f"cells per area or median diameter differ {_FOLD:g}-fold or more from the median of the samples of the same "
    f"modality, and their modified z-score is beyond {_FAR:g} (at least {_MIN_PEERS} samples with cells)",
    f"more than {_EDGE_SHARE:.0%} of at least {_MIN_CELLS_FOR_SHARES} cells touch the image's edge",
    f"average precision at IoU 0.5 is below {_POOR_AP50:g}",
    "cells are larger than the tiles see around them, so their outlines may be incomplete",
    "the seam audit failed: along borders of tiles, outlines run straighter, or cells are fewer or more, than beside "
    "them, or a tile among full ones is empty",
)
"""The rules in words, for the report."""


class Finding(NamedTuple):
    """One thing that looks wrong: how much it should worry (larger is worse) and what it is."""

    weight: float
    text: str


def find_problems(measures: pd.DataFrame) -> list[tuple[Finding, ...]]:
    """Return what looks wrong with each row of a summary's measures, the worst first.

    A value is an outlier among its peers, the samples of its modality that have cells, by the modified z-score of
    Iglewicz and Hoaglin ("How to detect and handle outliers", ASQC 1993) on the logarithm, where 3.5 is their
    threshold; and only if it is also twice or half the median, so that a very even cohort does not cry wolf.
    """
    n_cells = measures["n_cells"].to_numpy(float, na_value=np.nan)
    edge_share, ap50 = measures["edge_share"].to_numpy(float), measures["ap50"].to_numpy(float)
    cells_cut = measures["cells_cut"].to_numpy(int)
    density, width = measures["cells_per_mpx"].to_numpy(float), measures["median_diameter_px"].to_numpy(float)
    modality = measures["modality"].to_numpy(str)
    usual_density, usual_width = _usual_where_unlike(density, modality), _usual_where_unlike(width, modality)
    found = [
        [
            *_intrinsic(n_cells[row], edge_share[row], ap50[row], cells_cut[row]),
            *_seams(measures["seam_audit"].iloc[row]),
            *_unusual_density(density[row], usual_density[row]),
            *_unusual_width(width[row], usual_width[row]),
        ]
        for row in range(len(measures))
    ]
    return [tuple(sorted(here, reverse=True)) for here in found]


def _intrinsic(n_cells: float, edge_share: float, ap50: float, cells_cut: int) -> list[Finding]:
    """Return what looks wrong with a sample by itself; NaN is not known and not wrong."""
    found = []
    if n_cells == 0:
        found.append(Finding(100, "no cells were found"))
    if n_cells >= _MIN_CELLS_FOR_SHARES and edge_share > _EDGE_SHARE:
        found.append(Finding(2, f"{edge_share:.0%} of the cells touch the edge"))
    if cells_cut > 0:
        what = f"{cells_cut} cell{'s' if cells_cut > 1 else ''} larger than the tiles see around them"
        found.append(Finding(5, f"{what}; set a larger diameter or overlap_margin"))
    if ap50 < _POOR_AP50:
        found.append(Finding(6, f"agrees poorly with its ground truth: AP@0.5 {ap50:.2f}"))
    return found


def _seams(audit: str) -> list[Finding]:
    """Return that the seam audit failed."""
    if audit != "failed":
        return []
    return [Finding(20, "borders of tiles left marks on its cells: metadata.json says where, under seam_audit")]


def _unusual_density(density: float, usual: float) -> list[Finding]:
    """Return that there are far more or fewer cells than `usual`; nothing where that is NaN."""
    if np.isnan(usual):
        return []
    more = "more" if density > usual else "fewer"
    text = f"far {more} cells than its peers: {_plain(density)} per Mpx, median {_plain(usual)}"
    return [Finding(4 + float(abs(np.log2(density / usual))), text)]


def _unusual_width(width: float, usual: float) -> list[Finding]:
    """Return that cells are much larger or smaller than `usual`; nothing where that is NaN."""
    if np.isnan(usual):
        return []
    larger = "larger" if width > usual else "smaller"
    text = f"cells much {larger} than in its peers: median diameter {_plain(width)} px, usually {_plain(usual)} px"
    return [Finding(3 + float(abs(np.log2(width / usual))), text)]


def _plain(value: float) -> str:
    """Return a number to about three digits, never in powers of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _usual_where_unlike(values: NDArray[np.float64], modality: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return the median of each value's peers where the value is an outlier among them, else NaN."""
    usual = np.full(values.size, np.nan)
    for kind in np.unique(modality):
        peers = np.flatnonzero((modality == kind) & (values > 0))
        if peers.size < _MIN_PEERS:
            continue
        logs = np.log2(values[peers])
        centre = np.median(logs)
        away = np.abs(logs - centre)
        outlying = (0.6745 * away > _FAR * np.median(away)) & (away >= np.log2(_FOLD))
        usual[peers[outlying]] = 2**centre
    return usual
