"""The distributions over a cohort, as figures with their titles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from cohortseg.report.details import HISTOGRAMS
from cohortseg.report.figures import pooled_lines, ranked_dots
from cohortseg.report.findings import Finding
from cohortseg.report.results import SampleResult

_DOTS = (
    ("Cells per megapixel", "cells_per_mpx", "cells / Mpx", True),
    ("Median diameter", "median_diameter_px", "median diameter (px)", False),
    ("Mean score", "mean_score", "mean cell probability", False),
    ("Intensities beside the cohort's", "intensity_drift", "log2 of its range to the median", False),
)


def draw_distributions(
    samples: Sequence[SampleResult], summary: pd.DataFrame, problems: Sequence[tuple[Finding, ...]]
) -> list[dict[str, Any]]:
    """Return the figures: `title` and `svg`; none where there are no cells.

    A dot a sample for each of the measures that at least two samples have, and the cells of all of them by diameter,
    score and flow error, a line for each modality.
    """
    if not (summary["n_cells"].fillna(0) > 0).any():
        return []
    names = summary["sample"].tolist()
    flagged = np.array([bool(found) for found in problems])
    drawn = [
        (title, ranked_dots(summary[column], names, flagged, axis=axis, log=log))
        for title, column, axis, log in _DOTS
        if summary[column].notna().sum() > 1
    ]
    for name, axis in HISTOGRAMS.items():
        lines: dict[str, Any] = {}
        edges: list[float] = []
        for sample in samples:
            if sample.quality is not None:
                found = sample.quality["histograms"][name]
                edges = found["edges"]
                lines[sample.modality] = lines.get(sample.modality, 0) + np.array(found["counts"])
        drawn.append((f"{axis.split(' (')[0]} of all cells", pooled_lines(lines, edges, axis=axis.lower())))
    return [{"title": title, "svg": Markup(svg)} for title, svg in drawn]
