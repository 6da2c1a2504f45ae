"""Step report: everything there is of a cohort in, summary.tsv, cells.parquet and report.html out."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from cohortseg.evaluate import Counts
from cohortseg.report import (
    OBJECT_COLUMNS,
    ReportData,
    SampleResult,
    StackObjects,
    StackResult,
    render_report,
    summarise,
)
from cohortseg.report.pictures import ReadPng
from cohortseg.segment.intensities import Intensities, cohort_medians, drift
from cohortseg.settings import EXPORT_FILES, QcSettings, load_block
from cohortseg.steps.benchmarks import read_benchmarks
from cohortseg.steps.job import failure_file, find_failures, run_job
from cohortseg.steps.provenance import describe_code
from cohortseg.stores.joined_tables import join_parquet
from cohortseg.stores.tables import read_json, read_parquet, read_tsv, write_bytes, write_tsv

_SAMPLE_RULES = ("segment", "prepare", "segment_part", "gather", "rasterise", "quantify", "assess", "evaluate")
_STACK_RULES = ("assemble", "overlaps", "stitch")
_EXPORT_RULES = ("export", "export_spatialdata")


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
    samples = _with_drift(samples, summary.parent / "intensities.tsv")
    stacks = tuple(_read_stack(results, name) for name in plan["stacks"])
    title = plan["settings"]["report"]["title"]
    benchmarks = read_benchmarks(summary.parent / "benchmarks.tsv")
    qc = load_block(QcSettings, plan["settings"]["qc"])
    exports = tuple(_failed_exports(results, plan["samples"], plan["exports"]))
    data = ReportData(title, samples, stacks, exports, plan["settings"], _versions(samples), benchmarks, qc)
    write_tsv(summary, summarise(samples, qc)[0])
    measured = [sample.sample for sample in samples if sample.status == "ok"]
    join_parquet(cells, [(name, results / name / "cells.parquet") for name in measured], name_column="sample")
    write_bytes(report, render_report(data).encode())


def _versions(samples: Sequence[SampleResult]) -> dict[str, str]:
    """Return the versions that the samples were segmented with, of cohortseg with its commit; several by commas."""
    found: dict[str, dict[str, None]] = {}
    for sample in samples:
        facts = sample.metadata
        code = {"cohortseg": describe_code(facts["code"]).removeprefix("cohortseg ")} if "code" in facts else {}
        for name, version in {**facts.get("versions", {}), **code}.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in found.items()}


def _read_sample(folder: Path, name: str, facts: Mapping[str, Any]) -> SampleResult:
    """Return what there is of a sample: done when its last files are there and no job of it failed since.

    Of a sample that is not done no numbers are given: what is left of an earlier run may not be true any more.
    """
    labelled = facts["labels"] is not None
    failure = _read_failure(folder, _SAMPLE_RULES if labelled else _SAMPLE_RULES[:-1])
    needed = ["cells.parquet", "quality.json", *(["evaluation.json"] if labelled else [])]
    done = failure is None and all((folder / file).is_file() for file in needed)
    return SampleResult(
        sample=name,
        status="failed" if failure else "ok" if done else "missing",
        metadata=_optional_json(folder / "metadata.json") or _planned(facts),
        quality=read_json(folder / "quality.json") if done else None,
        preview_png=_picture(folder / "preview.png") if done else None,
        crops_png=_picture(folder / "crops.png") if done else None,
        failure=failure,
        evaluation=Counts.read(read_json(folder / "evaluation.json")) if done and labelled else None,
    )


def _with_drift(samples: Sequence[SampleResult], table: Path) -> tuple[SampleResult, ...]:
    """Return the samples, those that are done with how far their intensities are from those of the others.

    Of a sample with several inputs, that of the one that is furthest. With fixed intensities nothing was measured.
    """
    by_sample = {sample.sample: _percentiles(sample) for sample in samples if sample.status == "ok"}
    medians = cohort_medians([each for found in by_sample.values() for each in found])
    drifts = {name: [drift(each, medians) for each in found] for name, found in by_sample.items()}
    if table.is_file() and any(_policy(sample) == "cohort" for sample in samples):
        rows = read_tsv(table)
        for name, found in zip(rows["sample"], pd.to_numeric(rows["drift"]), strict=True):
            drifts.setdefault(name, []).append(float(found))
    return tuple(
        replace(sample, metadata={**sample.metadata, "intensity_drift": max(known, key=abs)})
        if (known := [each for each in drifts.get(sample.sample, ()) if not math.isnan(each)])
        else sample
        for sample in samples
    )


def _policy(sample: SampleResult) -> str:
    return str(sample.metadata.get("settings", {}).get("normalise", {}).get("policy", ""))


def _percentiles(sample: SampleResult) -> list[Intensities]:
    """Return what metadata.json says of a sample's own percentiles."""
    facts = sample.metadata
    if _policy(sample) != "image":
        return []
    normalisation = facts["normalisation"]
    return [
        Intensities(sample.modality, facts["dtype"], name, min(bounds), max(bounds))
        for name, *bounds in zip(facts["channels"], normalisation["lower"], normalisation["upper"], strict=True)
    ]


def _planned(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a sample before it is segmented, as metadata.json would say it."""
    given = facts["segment"]["modality"]
    return {} if given == "auto" else {"modality": given}


def _read_stack(results: Path, name: str) -> StackResult:
    """Return what there is of a stack."""
    folder = results / "stacks" / name
    failure = _read_failure(folder, _STACK_RULES) or _read_failure(folder / "overlaps", _STACK_RULES)
    objects, links = folder / "objects.parquet", folder / "link_report.json"
    done = failure is None and objects.is_file() and links.is_file()
    return StackResult(
        stack=name,
        objects=StackObjects.of(read_parquet(objects, OBJECT_COLUMNS)) if done else None,
        links=read_json(links) if done else None,
        projection_png=_picture(folder / "projection.png") if done else None,
        through_z_png=_picture(folder / "through_z.png") if done else None,
        failure=failure,
    )


def _failed_exports(
    results: Path, samples: Iterable[str], files: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the failures of the exports that the config asks for; the cells that they are made of are fine."""
    for file in files:
        for name in samples:
            folder = results / name / "exports"
            for path in (failure_file(folder, rule, file) for rule in _EXPORT_RULES):
                # A job of the other rule, as a batch has, may have made it since.
                if path.is_file() and not (folder / file).exists():
                    yield f"{name}, {file}", read_json(path)
        cohort = failure_file(results / "cohort", "export_cohort", "")
        if file == EXPORT_FILES["anndata"] and cohort.is_file():
            yield f"cohort, {file}", read_json(cohort)


def _read_failure(folder: Path, rules: Sequence[str]) -> dict[str, Any] | None:
    """Return the failure of the first rule that left one."""
    paths = [path for rule in rules for path in find_failures(folder, rule)]
    return read_json(paths[0]) if paths else None


def _picture(path: Path) -> ReadPng | None:
    """Return what reads a picture once it is shown; None where there is none."""
    return path.read_bytes if path.is_file() else None


def _optional_json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None
