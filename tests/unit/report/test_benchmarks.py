"""What the steps took, as a table by step and a figure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cohortseg.report import BENCHMARK_COLUMNS, benchmarks_png, render_report
from cohortseg.report.benchmarks import benchmarks_svg, summarise_benchmarks


def row(step: str, name: str, seconds: float, *, stage: str = "", mpx: float = 4.0, peak: float = 1e9) -> list[Any]:
    return [step, stage, name, mpx * 1e6, seconds, seconds, peak, 2e6, np.nan, mpx / seconds]


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        row("segment", "a", 2.0),
        row("segment", "a", 1.5, stage="forward", peak=9e9),
        row("segment", "b", 8.0, mpx=40.0, peak=2e9),
        row("quantify", "a", 1.0),
    ]
    return pd.DataFrame(rows, columns=list(BENCHMARK_COLUMNS))


def test_steps_are_summed_over_their_jobs_without_the_stages(table: pd.DataFrame) -> None:
    steps = summarise_benchmarks(table).set_index("step")
    assert steps.index.tolist() == ["segment", "quantify"]
    segment = steps.loc["segment"]
    assert (segment["jobs"], segment["seconds"], segment["median_seconds"]) == (2, 10.0, 5.0)
    assert (segment["mpx_per_s"], segment["peak_memory_bytes"], segment["read_bytes"]) == (3.5, 2e9, 4e6)
    assert np.isnan(segment["written_bytes"])


def test_the_figure_is_the_same_on_every_run_and_names_the_steps(table: pd.DataFrame) -> None:
    assert benchmarks_png(table).startswith(b"\x89PNG")
    assert benchmarks_png(table) == benchmarks_png(table)
    svg = benchmarks_svg(table)
    assert svg == benchmarks_svg(table)
    assert "quantify" in svg


def test_a_cohort_of_which_nothing_was_measured_has_a_figure_too() -> None:
    empty = pd.DataFrame(columns=list(BENCHMARK_COLUMNS))
    assert benchmarks_png(empty).startswith(b"\x89PNG")
    assert summarise_benchmarks(empty).empty


def test_the_report_shows_them(made: Any, table: pd.DataFrame) -> None:
    cohort = made.cohort(made.ok("one", made.quality(3)))
    assert 'id="benchmarks"' not in render_report(cohort)
    page = render_report(replace(cohort, benchmarks=table))
    assert 'id="benchmarks"' in page
    assert '<td>segment</td><td class="number">2</td>' in page
