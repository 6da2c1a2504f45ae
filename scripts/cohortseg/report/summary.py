"""One row a sample, with what looks wrong with it: summary.tsv."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cohortseg.report.findings import find_problems
from cohortseg.report.results import SampleResult


def summarise(samples: Sequence[SampleResult]) -> pd.DataFrame:
    """Return one row a sample, in the order given.

    Columns: `sample`, `status`, `modality`, `n_cells` (nullable integer), `cells_per_mpx` (per million pixels),
    `median_area_px`, `median_diameter_px` and `median_diameter_um` (of circles of the cells' areas), `mean_score`,
    `edge_share` (0 to 1, of the cells), `cells_cut` (cells larger than the window sees around them),
    `seam_audit` (passed, failed or not judged; empty if unknown), `intensity_drift` (log2 of the ratio of its range of
    intensities to its cohort's: 1 is twice as wide), `ap50` (average
    precision at IoU 0.5), `seconds`, `peak_memory_bytes`, `warnings` (text, several joined by "; ", empty if there are
    none). Numbers that are not known are NaN.
    """
    measures = pd.DataFrame([_measure(sample) for sample in samples], columns=_MEASURES)
    measures["n_cells"] = measures["n_cells"].astype("Int64")
    measures["warnings"] = ["; ".join(finding.text for finding in found) for found in find_problems(measures)]
    return measures


_MEASURES = [
    "sample",
    "status",
    "modality",
    "n_cells",
    "cells_per_mpx",
    "median_area_px",
    "median_diameter_px",
    "median_diameter_um",
    "mean_score",
    "edge_share",
    "cells_cut",
    "seam_audit",
    "intensity_drift",
    "ap50",
    "seconds",
    "peak_memory_bytes",
]


def _measure(sample: SampleResult) -> dict[str, object]:
    """Return a sample's row of the summary, without warnings."""
    cells = sample.cells
    area_px, area_um2 = _median(cells, "area_px"), _median(cells, "area_um2")
    return {
        "sample": sample.sample,
        "status": sample.status,
        "modality": sample.modality,
        "n_cells": None if cells is None else len(cells),
        "cells_per_mpx": float("nan") if cells is None else len(cells) / sample.area_mpx,
        "median_area_px": area_px,
        "median_diameter_px": 2 * np.sqrt(area_px / np.pi),
        "median_diameter_um": 2 * np.sqrt(area_um2 / np.pi),
        "mean_score": float("nan") if cells is None or cells.empty else float(cells["score"].mean()),
        "edge_share": float("nan") if cells is None or cells.empty else float(cells["touches_edge"].mean()),
        "cells_cut": sample.cells_cut,
        "seam_audit": sample.seam_audit,
        "intensity_drift": sample.intensity_drift,
        "ap50": sample.ap50,
        "seconds": sample.seconds,
        "peak_memory_bytes": sample.peak_memory_bytes,
    }


def _median(cells: pd.DataFrame | None, column: str) -> float:
    """Return the median of a column; NaN without cells."""
    return float("nan") if cells is None or cells.empty else float(cells[column].median())
