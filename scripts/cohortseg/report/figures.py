"""Distributions over a cohort as SVG that takes its colours from the page, so that it suits light and dark."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

# Colours that stand for the page's own until the SVG is written.
INK, MUTED, DOT, FLAGGED = "#010203", "#010204", "#010205", "#010206"
_PAGE_COLOURS = {INK: "currentColor", MUTED: "var(--muted)", DOT: "var(--accent)", FLAGGED: "var(--warn)"}
_SIZE_INCHES = (5.2, 2.6)
_MOST_NAMES = 6
_END_SHARE = 10
_LONGEST_NAME = 32


def ranked_dots(values: pd.Series, names: Sequence[str], flagged: NDArray[np.bool_], *, axis: str, log: bool) -> str:
    """Return an SVG of one dot a sample, in rising order of `values`, those `flagged` in the colour of warnings.

    The flagged among the lowest and highest carry their names. NaN, and on a log scale what is not positive, are left
    out.
    """
    number = values.to_numpy(float)
    shown = np.flatnonzero(np.isfinite(number) & ((number > 0) | (not log)))
    order = shown[np.argsort(number[shown], kind="stable")]
    figure, axes = new_figure()
    axes.set_ylabel(axis)
    axes.set_xlabel("images, in order")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if log and order.size:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,.6g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    rank = np.arange(1, order.size + 1)
    for colour, size, these in ((DOT, 3, ~flagged[order]), (FLAGGED, 5, flagged[order])):
        axes.plot(rank[these], number[order][these], "o", color=colour, markersize=size, markeredgewidth=0)
    _name_outermost(axes, number[order], [names[i] for i in order], flagged[order])
    return as_svg(figure, axis)


def pooled_lines(counts: Mapping[str, NDArray[np.int64]], edges: Sequence[float], *, axis: str) -> str:
    """Return an SVG with the distribution of cells over bins, a line for each kind of image.

    `counts` holds for each kind the cells in each bin. Bins are drawn up to those that are empty in all kinds; on a log
    scale where they become wider.
    """
    figure, axes = new_figure()
    axes.set_xlabel(axis)
    axes.set_ylabel("share of cells")
    pooled = {kind: cells / cells.sum() for kind, cells in counts.items() if cells.sum()}
    if pooled:
        filled = np.flatnonzero(np.sum(list(pooled.values()), axis=0))
        shown = slice(filled[0], filled[-1] + 1)
        bins = np.array(edges[filled[0] : filled[-1] + 2], float)
        widths = np.diff(np.array(edges, float))
        if widths[-1] > 1.5 * widths[0] and bins[0] > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:,.6g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        for (kind, share), style in zip(pooled.items(), _line_styles(len(pooled)), strict=True):
            axes.stairs(share[shown], bins, color=DOT, linestyle=style, linewidth=1.4, label=shortened(kind) or "all")
        if len(pooled) > 1:
            for text in axes.legend(frameon=False, labelcolor=INK, fontsize=8).get_texts():
                text.set_parse_math(False)
    return as_svg(figure, axis)


def _line_styles(number: int) -> list[str]:
    """Return one line style a kind, repeated beyond four."""
    return (["-", "--", ":", "-."] * (number // 4 + 1))[:number]


def _name_outermost(axes: Axes, values: NDArray[np.float64], names: list[str], flagged: NDArray[np.bool_]) -> None:
    """Write their names beside the flagged dots among the lowest and highest tenth, the outermost first."""
    rank = np.arange(len(values))
    from_end = np.minimum(rank, rank[::-1])
    named = np.flatnonzero(flagged & (from_end < max(1, len(values) / _END_SHARE)))
    for index in named[np.argsort(from_end[named], kind="stable")][:_MOST_NAMES]:
        left = index > len(values) / 2
        axes.annotate(
            shortened(names[index]),
            (index + 1, values[index]),
            xytext=(-6 if left else 6, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=7.5,
            color=FLAGGED,
            parse_math=False,
        )


def shortened(name: str) -> str:
    """Return a name as far as a figure has room for it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def new_figure() -> tuple[Figure, Axes]:
    """Return an empty figure with quiet axes."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    quieten(axes)
    axes.margins(x=0.03)
    return figure, axes


def quieten(axes: Axes) -> None:
    """Leave of the axes' frame what is read, in the page's colours, on no ground of its own."""
    axes.figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=9)


def as_svg(figure: Figure, salt: str) -> str:
    """Return a figure as an inline SVG element, the same on every run, in the page's colours and letters."""
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    # Groups are named alike in every figure; in one page, names are to be unique. Nothing refers to them.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :])
    for placeholder, colour in _PAGE_COLOURS.items():
        svg = svg.replace(placeholder, colour)
    return svg
