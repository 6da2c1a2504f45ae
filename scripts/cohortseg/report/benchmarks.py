"""What the steps of a cohort took: a table by step, and time and memory over the size of the images."""

import io

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohortseg.report.figures import INK, MUTED, as_svg, quieten

BENCHMARK_COLUMNS = (
    "step",
    "stage",
    "name",
    "image_px",
    "seconds",
    "cpu_seconds",
    "peak_memory_bytes",
    "read_bytes",
    "written_bytes",
    "mpx_per_s",
)
"""Of benchmarks.tsv: a row with an empty `stage` is a whole job, the others are stages of a segmentation."""

# As those of the curves of average precision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_SIZE_INCHES = (8.4, 3.0)
_DPI = 150


def summarise_benchmarks(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a step, in the order of the table, of its whole jobs.

    Columns: `step`, `jobs`, `seconds` (the sum), `median_seconds`, `mpx_per_s` (the median), `peak_memory_bytes` (the
    largest), `read_bytes` and `written_bytes` (the sums). What no job of a step knows is NaN.
    """
    jobs = table[table["stage"] == ""]
    rows = [
        {
            "step": step,
            "jobs": len(rows),
            "seconds": rows["seconds"].sum(min_count=1),
            "median_seconds": rows["seconds"].median(),
            "mpx_per_s": rows["mpx_per_s"].median(),
            "peak_memory_bytes": rows["peak_memory_bytes"].max(),
            "read_bytes": rows["read_bytes"].sum(min_count=1),
            "written_bytes": rows["written_bytes"].sum(min_count=1),
        }
        for step, rows in jobs.groupby("step", sort=False)
    ]
    columns = ["step", "jobs", "seconds", "median_seconds", "mpx_per_s", "peak_memory_bytes", "read_bytes",
               "written_bytes"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def benchmarks_svg(table: pd.DataFrame) -> str:
    """Return seconds and peak memory over the size of the image as an SVG element in the page's colours."""
    return as_svg(_draw(table), "benchmarks")


def benchmarks_png(table: pd.DataFrame) -> bytes:
    """Return seconds and peak memory over the size of the image as the bytes of a PNG file."""
    file = io.BytesIO()
    figure = _draw(table)
    figure.patch.set(alpha=1, facecolor="white")
    with mpl.rc_context({"svg.hashsalt": "benchmarks"}):
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()


def _draw(table: pd.DataFrame) -> Figure:
    """Return the figure: a dot a job, a colour and a marker for each step."""
    jobs = table[table["stage"] == ""]
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_panel(left, jobs, jobs["seconds"], "seconds")
    _draw_panel(right, jobs, jobs["peak_memory_bytes"] / 1e9, "peak memory (GB)")
    right.set_ylim(bottom=0)
    left.set_yscale("log")
    names = list(dict.fromkeys(jobs["step"]))
    if names:
        figure.legend(left.get_lines(), names, loc="outside right upper", frameon=False, labelcolor=INK, fontsize=8)
    return figure


def _draw_panel(axes: Axes, jobs: pd.DataFrame, values: pd.Series, label: str) -> None:
    quieten(axes)
    axes.set_xscale("log")
    axes.set_xlabel("image (Mpx)")
    axes.set_ylabel(label)
    axes.grid(color=MUTED, alpha=0.15, linewidth=0.6)
    for i, step in enumerate(dict.fromkeys(jobs["step"])):
        these = (jobs["step"] == step).to_numpy()
        axes.plot(
            jobs["image_px"].to_numpy(float)[these] / 1e6,
            np.where(values.to_numpy(float)[these] > 0, values.to_numpy(float)[these], np.nan),
            linestyle="",
            color=_COLOURS[i % len(_COLOURS)],
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=4,
        )
