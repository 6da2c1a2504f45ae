"""One row a sample, with what looks wrong with it: summary.tsv."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cohortseg.report.findings import Finding, find_problems
from cohortseg.report.results import SampleResult
from cohortseg.settings import QcSettings

_NAN = float("nan")


def summarise(samples: Sequence[SampleResult], qc: QcSettings) -> tuple[pd.DataFrame, list[tuple[Finding, ...]]]:
    """Return one row a sample, in the order given, and what looks wrong with each, the worst first.

    Columns: `sample`, `status`, `modality`, `n_cells` (nullable integer), `cells_per_mpx` (per million pixels),
    `median_area_px`, `median_diameter_px` and `median_diameter_um` (of circles of the cells' areas), `mean_score`,
    `score_median`, `flow_error_median`, `edge_share` (0 to 1, of the cells), `cells_cut` (cells larger than the window
    sees around them), `seam_audit` (passed, failed or not judged; empty if unknown), `intensity_drift` (log2 of the
    ratio of its range of intensities to its cohort's: 1 is twice as wide), `sharpness` (the least of the channels that
    were segmented), `saturated_share` (the most of any channel, of its pixels in cells, of all pixels where there are
    no cells), `max_shift_px` (the largest distance of a channel from the segmented one), `empty_tiles`,
    `suspicious_tiles` (nullable integers), `ap50` (average precision at IoU 0.5), `seconds`, `peak_memory_bytes`,
    `warnings` (text, several joined by "; ", empty if there are none), `verdict`: `failed` or `missing` as the status,
    `look` where there are warnings, else `ok`. Numbers that are not known are NaN.
    """
    measures = pd.DataFrame([_measure(sample) for sample in samples], columns=_MEASURES)
    for name in ("n_cells", "empty_tiles", "suspicious_tiles"):
        measures[name] = measures[name].astype("Int64")
    problems = find_problems(measures, samples, qc)
    measures["warnings"] = ["; ".join(finding.text for finding in found) for found in problems]
    measures["verdict"] = [
        "look" if status == "ok" and found else status
        for status, found in zip(measures["status"], problems, strict=True)
    ]
    return measures, problems


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
    "score_median",
    "flow_error_median",
    "edge_share",
    "cells_cut",
    "seam_audit",
    "intensity_drift",
    "sharpness",
    "saturated_share",
    "max_shift_px",
    "empty_tiles",
    "suspicious_tiles",
    "ap50",
    "seconds",
    "peak_memory_bytes",
]


def _measure(sample: SampleResult) -> dict[str, object]:
    """Return a sample's row of the summary, without warnings."""
    quality = sample.quality
    tiles = quality["tiles"] if quality else {}
    channels = quality["channels"] if quality else []
    return {
        "sample": sample.sample,
        "status": sample.status,
        "modality": sample.modality,
        "n_cells": quality["n_cells"] if quality else None,
        "cells_per_mpx": quality["n_cells"] / quality["area_mpx"] if quality else _NAN,
        "median_area_px": _of_cells(sample, "area_px", "median"),
        "median_diameter_px": _of_cells(sample, "diameter_px", "median"),
        "median_diameter_um": _of_cells(sample, "diameter_um", "median"),
        "mean_score": _of_cells(sample, "score", "mean"),
        "score_median": _of_cells(sample, "score", "median"),
        "flow_error_median": _of_cells(sample, "flow_error", "median"),
        "edge_share": _number(quality["touches_edge_share"]) if quality else _NAN,
        "cells_cut": sample.cells_cut,
        "seam_audit": sample.seam_audit,
        "intensity_drift": sample.intensity_drift,
        "sharpness": _extreme(min, [_number(each["sharpness"]) for each in channels if each["segmented"]]),
        "saturated_share": _extreme(max, [_saturation(each) for each in channels]),
        "max_shift_px": _extreme(max, [np.hypot(*each["shift_px"]) for each in channels if each["shift_px"]]),
        "empty_tiles": tiles.get("empty"),
        "suspicious_tiles": tiles.get("suspicious"),
        "ap50": sample.ap50,
        "seconds": sample.seconds,
        "peak_memory_bytes": sample.peak_memory_bytes,
    }


def _of_cells(sample: SampleResult, measure: str, statistic: str) -> float:
    """Return a statistic of a measure over the sample's cells; NaN without cells."""
    return _number(sample.quality["cells"][measure][statistic]) if sample.quality else _NAN


def _saturation(channel: Mapping[str, Any]) -> float:
    """Return the share of a channel's pixels at the top of the range, in cells where there are any; NaN if unknown."""
    in_cells = channel["saturated_in_cells"]
    return _number(channel["saturated_share"] if in_cells is None else in_cells)


def _number(value: float | None) -> float:
    return _NAN if value is None else float(value)


def _extreme(choose: Any, values: Sequence[float]) -> float:
    """Return the least or the largest of the values that are known; NaN without any."""
    known = [value for value in values if not np.isnan(value)]
    return float(choose(known)) if known else _NAN
