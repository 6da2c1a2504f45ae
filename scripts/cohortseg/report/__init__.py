"""The report of a cohort: one self-contained page, its summary table, and the pictures of cells outlined on images."""

from cohortseg.report.benchmarks import BENCHMARK_COLUMNS, benchmarks_png
from cohortseg.report.comparison import render_comparison
from cohortseg.report.curves import curves_png, curves_svg
from cohortseg.report.html import render_report
from cohortseg.report.losses import loss_png
from cohortseg.report.overlay import overlay
from cohortseg.report.results import OBJECT_COLUMNS, ReportData, SampleResult, StackObjects, StackResult
from cohortseg.report.summary import summarise

__all__ = [
    "BENCHMARK_COLUMNS",
    "OBJECT_COLUMNS",
    "ReportData",
    "SampleResult",
    "StackObjects",
    "StackResult",
    "benchmarks_png",
    "curves_png",
    "curves_svg",
    "loss_png",
    "overlay",
    "render_comparison",
    "render_report",
    "summarise",
]
