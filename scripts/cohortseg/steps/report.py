"""Step report: everything there is of a cohort in, summary.tsv, cells.parquet and report.html out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cohortseg.report import (
    CELL_COLUMNS,
    OBJECT_COLUMNS,
    ReportData,
    SampleResult,
    StackResult,
    render_report,
    summarise,
)
from cohortseg.steps.job import run_job
from cohortseg.stores.tables import read_json, read_parquet, write_bytes, write_parquet, write_tsv


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""
    output = snakemake.output
    run_job(
        snakemake,
        lambda: write_report(
            snakemake.params.plan, summary=Path(output.summary), cells=Path(output.cells), report=Path(output.report)
        ),
    )


def write_report(plan: Mapping[str, Any], *, summary: Path, cells: Path, report: Path) -> None:
    """Write the cohort's table of samples, of cells and its page, of what has been made so far.

    Parameters
    ----------
    plan
        As `steps.plan.make_plan` makes it.
    """
    results = Path(plan["results"])
    samples = tuple(_read_sample(results / name, name, facts) for name, facts in plan["samples"].items())
    stacks = tuple(_read_stack(results / "stacks" / name, name) for name in plan["stacks"])
    versions = [sample.metadata["versions"] for sample in samples if "versions" in sample.metadata]
    title = plan["settings"]["report"]["title"]
    data = ReportData(title, samples, stacks, plan["settings"], versions[0] if versions else {})
    write_tsv(summary, summarise(samples))
    write_parquet(cells, _all_cells(results, [sample.sample for sample in samples if sample.status == "ok"]))
    write_bytes(report, render_report(data).encode())


def _read_sample(folder: Path, name: str, facts: Mapping[str, Any]) -> SampleResult:
    """Return what there is of a sample; it is done, whatever failed before, when its last file is there."""
    failure = _optional_json(folder / "failure.json")
    done = all((folder / file).exists() for file in ("polygons.parquet", "cells.parquet"))
    done = done and (facts["labels"] is None or (folder / "evaluation.json").is_file())
    preview, cells = folder / "preview.png", folder / "cells.parquet"
    return SampleResult(
        sample=name,
        status="ok" if done else "failed" if failure else "missing",
        metadata=_optional_json(folder / "metadata.json") or {"modality": facts["segment"]["modality"]},
        cells=read_parquet(cells, CELL_COLUMNS) if cells.is_file() else None,
        preview_png=preview.read_bytes() if preview.is_file() else None,
        failure=None if done else failure,
        evaluation=_optional_json(folder / "evaluation.json") if facts["labels"] else None,
    )


def _read_stack(folder: Path, name: str) -> StackResult:
    objects = folder / "objects.parquet"
    table = read_parquet(objects, OBJECT_COLUMNS) if objects.is_file() else None
    failure = _optional_json(folder / "failure.json") if table is None else None
    return StackResult(name, table, None, failure)


def _optional_json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def _all_cells(results: Path, names: list[str]) -> pd.DataFrame:
    """Return the cells of all finished samples, with the sample's name in front."""
    tables = []
    for name in names:
        table = read_parquet(results / name / "cells.parquet", None)
        table.insert(0, "sample", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"sample": pd.Series(dtype=str)})
