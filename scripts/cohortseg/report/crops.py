"""A few good and a few doubtful cells of an image: which, why, and their pictures in a row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.arrays import Box, Image, Labels
from cohortseg.report.overlay import Picture
from cohortseg.report.through_z import draw_cell

CROP_COLUMNS = (
    "cell_id",
    "area_px",
    "centroid_x",
    "centroid_y",
    "major_axis_px",
    "solidity",
    "touches_edge",
    "score",
    "flow_error",
)
"""The columns that cells are chosen by: of cells.parquet, but for the flow error, which polygons.parquet has."""

_CANDIDATES, _BETTER_SHARE = 4, 0.05
_WINDOW_BY_DIAMETER = 3.0
_WINDOW_BY_LENGTH = 1.4
_SMALLEST_WINDOW_PX, _LARGEST_WINDOW_PX = 24, 2048


class _Doubt(NamedTuple):
    """A measure, the end of it that makes a cell doubtful, and how that is said."""

    column: str
    sign: int
    words: str
    at_edge: bool


_DOUBTS = (
    _Doubt("flow_error", 1, "largest flow error: {value:.2f}, median {usual:.2f}", True),
    _Doubt("score", -1, "lowest score: {value:.2f}, median {usual:.2f}", True),
    _Doubt("diameter", 1, "largest: {value:.0f} px across, median {usual:.0f} px", False),
    _Doubt("solidity", -1, "most indented: fills {value:.0%} of its hull, median {usual:.0%}", False),
    _Doubt("diameter", -1, "smallest: {value:.0f} px across, median {usual:.0f} px", False),
)
_NEXT = {
    "largest": "among the largest",
    "lowest": "among the lowest",
    "most": "among the most",
    "smallest": "among the smallest",
}


def choose_cells(cells: pd.DataFrame, n_good: int, n_doubtful: int) -> list[dict[str, Any]]:
    """Return which cells of an image to show, the good ones first.

    Doubtful are, in turn, the cells of the largest flow error, the lowest score, the largest size, the lowest solidity
    and the smallest size, those beyond the median only; at the image's edge, where cells are cut, a cell is not doubted
    for its size and shape. They are half of the cells at most. Good are, among the best twentieth by score and flow
    error (mean of the ranks; of few cells four times as many as are shown) of the others that do not touch the edge,
    the best and those farthest from the ones chosen before, so that they are spread over the image. Of equal cells the
    smaller `cell_id` is chosen.

    Parameters
    ----------
    cells
        `CROP_COLUMNS`, one row a cell; a score or flow error that is not known is NaN and not judged.

    Returns
    -------
    list of dict
        `cell_id`, `kind` (good or doubtful), `why` in words, `x` and `y` (its centre in pixels) and `window_px`, the
        side of the square of the image to show: three median diameters, or more for a longer cell.
    """
    table = cells.sort_values("cell_id", ignore_index=True)
    table["diameter"] = 2 * np.sqrt(table["area_px"] / np.pi)
    table = table[table["area_px"] > 0].reset_index(drop=True)
    doubtful = _doubtful(table, min(n_doubtful, len(table) // 2))
    good = _good(table, n_good, [row for row, _ in doubtful])
    usual = float(table["diameter"].median()) if len(table) else 0.0
    said = [(row, "good", _praise(table.iloc[row])) for row in good]
    said += [(row, "doubtful", why) for row, why in doubtful]
    return [_chosen(table.iloc[row], kind, why, usual) for row, kind, why in said]


def draw_crops(
    read_pixels: Callable[[Box], Image],
    read_labels: Callable[[Box], Labels],
    chosen: Sequence[Mapping[str, Any]],
    shape: tuple[int, int],
    *,
    side_px: int,
    limits: Sequence[tuple[float, float]],
    is_rgb: bool,
) -> Picture:
    """Return the chosen cells in a row, each in the middle of its square, its outline apart from its neighbours'.

    One square is read at a time.

    Parameters
    ----------
    read_pixels, read_labels
        Give what is shown, (channel, y, x), and the labels, (y, x), of any box inside the image.
    chosen
        As `choose_cells` returns them.
    shape
        (y, x) of the image; what lies beyond is black.
    side_px
        Side of each square in the picture.
    limits, is_rgb
        As `report.overlay.overlay` takes them.

    Returns
    -------
    ndarray
        (`side_px`, `side_px` for each cell, 3) uint8; a single black pixel where no cell was chosen.
    """
    tiles = []
    for cell in chosen:
        side = int(cell["window_px"])
        y, x = round(cell["y"] - side / 2), round(cell["x"] - side / 2)
        box = Box(y, x, y + side, x + side)
        inside = box.intersection(Box(0, 0, *shape))
        pad = ((inside.y0 - box.y0, box.y1 - inside.y1), (inside.x0 - box.x0, box.x1 - inside.x1))
        labels = np.pad(read_labels(inside), pad)
        image = np.pad(read_pixels(inside), ((0, 0), *pad))
        tiles.append(draw_cell(image, labels, int(cell["cell_id"]), limits, is_rgb=is_rgb, side_px=side_px))
    return np.concatenate(tiles, axis=1) if tiles else np.zeros((1, 1, 3), np.uint8)


def _doubtful(table: pd.DataFrame, number: int) -> list[tuple[int, str]]:
    """Return the rows of the cells that are most in doubt and why, one of each doubt in turn."""
    queues = [(doubt, _queue(table, doubt, number)) for doubt in _DOUBTS]
    found: dict[int, str] = {}
    for turn in range(number):
        for doubt, rows in queues:
            row = next((row for row in rows if row not in found), None)
            if row is not None and len(found) < number:
                found[row] = _words(table, doubt, row, first=turn == 0 and row == rows[0])
    return list(found.items())


def _queue(table: pd.DataFrame, doubt: _Doubt, number: int) -> list[int]:
    """Return the rows beyond the median of one measure, the furthest first, as many as can be needed."""
    values = doubt.sign * table[doubt.column].to_numpy(float)
    if not np.isfinite(values).any():
        return []
    judged = np.isfinite(values) & (values > np.nanmedian(values))
    if not doubt.at_edge:
        judged &= ~table["touches_edge"].to_numpy(bool)
    rows = np.flatnonzero(judged)
    # As many as could be taken by the other doubts, and one more.
    furthest: list[int] = rows[np.argsort(-values[rows], kind="stable")][: number + 1].tolist()
    return furthest


def _words(table: pd.DataFrame, doubt: _Doubt, row: int, *, first: bool) -> str:
    """Return why a cell is in doubt; only one has the largest or the lowest of a measure."""
    values = table[doubt.column]
    words = doubt.words.format(value=float(values.loc[row]), usual=float(values.median()))
    superlative, rest = words.split(maxsplit=1) if " " in words else (words, "")
    if first:
        return words
    head = superlative.rstrip(":")
    return f"{_NEXT[head]}{superlative[len(head) :]} {rest}"


def _good(table: pd.DataFrame, number: int, taken: Sequence[int]) -> list[int]:
    """Return the rows of good cells, spread over the image, the best first."""
    free = table[~table["touches_edge"].astype(bool) & ~table.index.isin(taken)]
    if free.empty or not number:
        return []
    # Equal cells share a rank; what is not known is in the middle.
    score = free["score"].rank(ascending=False, pct=True).fillna(0.5)
    flow_error = free["flow_error"].rank(pct=True).fillna(0.5)
    ranked = (score + flow_error).sort_values(kind="stable").index.to_numpy()
    better = ranked[: max(_CANDIDATES * number, round(_BETTER_SHARE * len(ranked)))]
    places = table.loc[better, ["centroid_x", "centroid_y"]].to_numpy(float)
    return [int(better[i]) for i in _spread_out(places, min(number, len(better)))]


def _spread_out(places: NDArray[np.float64], number: int) -> list[int]:
    """Return the first of the places and in turn the one farthest from those before."""
    chosen = [0]
    nearest = np.hypot(*(places - places[0]).T)
    while len(chosen) < number:
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.hypot(*(places - places[chosen[-1]]).T))
    return chosen


def _praise(cell: pd.Series) -> str:
    """Return what speaks for a cell, of what is known."""
    known = [
        f"{words} {cell[name]:.2f}"
        for name, words in (("score", "score"), ("flow_error", "flow error"))
        if pd.notna(cell[name])
    ]
    return ", ".join(known) or "not at the edge"


def _chosen(cell: pd.Series, kind: str, why: str, usual_diameter: float) -> dict[str, Any]:
    side = max(_WINDOW_BY_DIAMETER * usual_diameter, _WINDOW_BY_LENGTH * float(cell["major_axis_px"]))
    return {
        "cell_id": int(cell["cell_id"]),
        "kind": kind,
        "why": why,
        "x": round(float(cell["centroid_x"]), 1),
        "y": round(float(cell["centroid_y"]), 1),
        "window_px": int(np.clip(np.ceil(side), _SMALLEST_WINDOW_PX, _LARGEST_WINDOW_PX)),
    }
