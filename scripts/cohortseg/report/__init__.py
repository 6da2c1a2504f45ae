"""The report of a cohort: one self-contained page, its summary table, and the pictures of cells outlined on images."""

from cohortseg.report.html import render_report
from cohortseg.report.overlay import overlay
from cohortseg.report.results import CELL_COLUMNS, OBJECT_COLUMNS, ReportData, SampleResult, StackResult
from cohortseg.report.summary import summarise

__all__ = [
    "CELL_COLUMNS",
    "OBJECT_COLUMNS",
    "ReportData",
    "SampleResult",
    "StackResult",
    "overlay",
    "render_report",
    "summarise",
]
