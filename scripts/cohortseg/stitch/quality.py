"""What the links of a stack say of its planes: how well cells overlap, where objects begin and end, what is odd."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

IOU_BINS = 20
"""Bins of the histogram of IoU, of one width from 0 to 1."""

_NEAR = 3
_LEAST_DIFFERENCE = 0.2
_LEAST_ERRORS = 3.0


def describe_links(cells: pd.DataFrame, z_indices: Sequence[int]) -> dict[str, Any]:
    """Return what the links of a stack look like, as plain data.

    Parameters
    ----------
    cells
        The rows of `link_stack`, before objects were dropped.
    z_indices
        Of all planes of the stack.

    Returns
    -------
    dict
        `n_cells`, `n_objects`, `n_links`, `n_splits`, `n_merges`; `iou_histogram`: `edges` (`IOU_BINS` + 1) and
        `counts` of the links; `planes`, in z order: `z_index`, `n_cells`, `n_links` to planes below, `mean_iou` of
        these, `starts` and `ends` (objects whose first or last plane it is), `start_share` and `end_share` of its cells
        (None where it is the stack's first or last plane, or has no cells), and `suspicious`, what is odd about it: its
        share of starts or ends differs from the median of up to 3 planes on either side by more than 0.2 and by more
        than 3 standard errors, or all its cells are exactly those of the plane below; `suspicious`, the z_index of
        those planes.
    """
    ordered = np.sort(np.asarray(z_indices, np.int64))
    place = np.searchsorted(ordered, cells["z_index"].to_numpy())
    ids = cells["cell_id"].to_numpy()
    iou = cells["iou"].to_numpy()
    n_objects = int(ids.max(initial=0))
    first, last = np.full(n_objects + 1, ordered.size), np.full(n_objects + 1, -1)
    np.minimum.at(first, ids, place)
    np.maximum.at(last, ids, place)
    n_cells = np.bincount(place, minlength=ordered.size)
    starts = np.bincount(first[1:], minlength=ordered.size)
    ends = np.bincount(last[1:], minlength=ordered.size)
    linked = ~np.isnan(iou)
    n_links = np.bincount(place[linked], minlength=ordered.size)
    total_iou = np.bincount(place[linked], iou[linked], minlength=ordered.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        start_share, end_share, mean_iou = starts / n_cells, ends / n_cells, total_iou / n_links
    start_share[0], end_share[-1] = np.nan, np.nan
    odd_starts, odd_ends = _odd(start_share, n_cells), _odd(end_share, n_cells)
    planes = []
    for plane, z_index in enumerate(ordered.tolist()):
        reasons = ["starts"] * bool(odd_starts[plane]) + ["ends"] * bool(odd_ends[plane])
        same = plane > 0 and n_links[plane] == n_cells[plane] == n_cells[plane - 1] > 0 and mean_iou[plane] == 1
        planes.append(
            {
                "z_index": z_index,
                "n_cells": int(n_cells[plane]),
                "n_links": int(n_links[plane]),
                "mean_iou": _known(mean_iou[plane]),
                "starts": int(starts[plane]),
                "ends": int(ends[plane]),
                "start_share": _known(start_share[plane]),
                "end_share": _known(end_share[plane]),
                "suspicious": reasons + ["same as below"] * bool(same),
            }
        )
    counts, edges = np.histogram(iou[linked], bins=IOU_BINS, range=(0, 1))
    return {
        "n_cells": len(cells),
        "n_objects": n_objects,
        "n_links": int(linked.sum()),
        "n_splits": int(cells["n_splits"].sum()),
        "n_merges": int(cells["n_merges"].sum()),
        "iou_histogram": {"edges": np.round(edges, 6).tolist(), "counts": counts.tolist()},
        "planes": planes,
        "suspicious": [plane["z_index"] for plane in planes if plane["suspicious"]],
    }


def _odd(share: NDArray[np.float64], n_cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which shares are far from the median of their neighbours, more than chance makes of so many cells."""
    odd = np.zeros(share.size, bool)
    for plane in np.flatnonzero(~np.isnan(share)):
        near = np.concatenate([share[max(plane - _NEAR, 0) : plane], share[plane + 1 : plane + 1 + _NEAR]])
        near = near[~np.isnan(near)]
        if near.size < 2:
            continue
        usual = float(np.median(near))
        # A share of 0 or 1 among neighbours is not taken for certain: half a cell more or less of this plane's.
        bounded = float(np.clip(usual, 0.5 / n_cells[plane], 1 - 0.5 / n_cells[plane]))
        error = float(np.sqrt(bounded * (1 - bounded) / n_cells[plane]))
        odd[plane] = abs(share[plane] - usual) > max(_LEAST_DIFFERENCE, _LEAST_ERRORS * error)
    return odd


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
