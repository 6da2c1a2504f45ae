"""How the measures of a sample's cells are distributed, in numbers that can be compared and added over a cohort."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CELL_COLUMNS = ("area_px", "area_um2", "solidity", "eccentricity", "score", "touches_edge")
"""The columns of cells.parquet that are read."""

_EDGES: Mapping[str, NDArray[np.float64]] = {
    "diameter_px": np.geomspace(1, 1000, 61),
    "score": np.linspace(0, 1, 51),
    "flow_error": np.linspace(0, 1.2, 61),
}
"""Edges of the bins, the same for all samples; what lies beyond them is counted in the first or last bin."""

_PERCENTILES = {"p5": 5.0, "p25": 25.0, "p75": 75.0, "p95": 95.0}


def describe_cells(cells: pd.DataFrame, flow_error: NDArray[np.float32]) -> dict[str, Any]:
    """Return what quality.json says of cells.

    Parameters
    ----------
    cells
        `CELL_COLUMNS`, a row a cell; NaN where not known.
    flow_error
        (n,) of the same cells, in any order; NaN where not known.

    Returns
    -------
    dict
        `n_cells`; `touches_edge_share`, None without cells; `cells`: by measure, `median`, `mean`, `std` (of the
        population), `p5`, `p25`, `p75` and `p95`, None where no cell has one; `histograms`: by measure, `edges` and
        `counts`.
    """
    measures = {
        "area_px": cells["area_px"].to_numpy(float),
        "area_um2": cells["area_um2"].to_numpy(float),
        "diameter_px": 2 * np.sqrt(cells["area_px"].to_numpy(float) / np.pi),
        "diameter_um": 2 * np.sqrt(cells["area_um2"].to_numpy(float) / np.pi),
        "score": cells["score"].to_numpy(float),
        "flow_error": flow_error.astype(np.float64),
        "solidity": cells["solidity"].to_numpy(float),
        "eccentricity": cells["eccentricity"].to_numpy(float),
    }
    return {
        "n_cells": len(cells),
        "touches_edge_share": float(cells["touches_edge"].mean()) if len(cells) else None,
        "cells": {name: _statistics(values) for name, values in measures.items()},
        "histograms": {
            name: {"edges": edges.tolist(), "counts": _counts(measures[name], edges).tolist()}
            for name, edges in _EDGES.items()
        },
    }


def _statistics(values: NDArray[np.float64]) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not known.size:
        return dict.fromkeys(("median", "mean", "std", *_PERCENTILES))
    percentiles = np.percentile(known, list(_PERCENTILES.values())).tolist()
    return {
        "median": float(np.median(known)),
        "mean": float(known.mean()),
        "std": float(known.std()),
        **dict(zip(_PERCENTILES, percentiles, strict=True)),
    }


def _counts(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    known = values[np.isfinite(values)]
    counts: NDArray[np.int64] = np.histogram(np.clip(known, edges[0], edges[-1]), edges)[0].astype(np.int64)
    return counts
