"""Step report: everything there is of a cohort in, one page and two tables out."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cohortseg.settings import QuantifySettings, Settings
from cohortseg.steps import report
from cohortseg.steps.assess import assess_file
from cohortseg.steps.provenance import code_facts, describe_code
from cohortseg.steps.quantify import quantify_file
from cohortseg.steps.report import write_report

FAILURE = {
    "rule": "segment",
    "error": "ImageError",
    "found": "cut.tif is cut short",
    "expected": "8 strips were expected",
    "remedy": "Copy the image again.",
    "log": "logs/segment/bad.log",
}


@pytest.fixture
def results(sample: Any, tmp_path: Path) -> Path:
    """Return results with a finished sample, a failed one, and one of which there is nothing."""
    good = tmp_path / "results" / "good"
    good.mkdir(parents=True)
    for path in (sample.polygons, sample.metadata):
        shutil.copy(path, good)
    (good / "mask.zarr").mkdir()
    quantify_file(
        sample.image,
        sample.polygons,
        sample.metadata,
        cells=good / "cells.parquet",
        settings=QuantifySettings(),
    )
    assess_file(
        sample.image,
        sample.polygons,
        sample.metadata,
        good / "cells.parquet",
        quality=good / "quality.json",
        preview=good / "preview.png",
        crops=good / "crops.png",
        thumbnail_px=64,
    )
    bad = tmp_path / "results" / "bad"
    bad.mkdir()
    (bad / "failure.segment.json").write_text(json.dumps(FAILURE))
    return tmp_path / "results"


@pytest.fixture
def plan(results: Path, cpu_settings: Settings) -> dict[str, Any]:
    segment = cpu_settings.segment_settings().model_dump(mode="json")
    facts = {"image": "a.tif", "labels": None, "stack": None, "z_index": None, "segment": segment}
    return {
        "results": str(results),
        "settings": cpu_settings.model_dump(mode="json"),
        "samples": {name: facts for name in ("good", "bad", "later")},
        "stacks": {},
        "exports": ["cells.h5ad", "spatialdata.zarr"],
    }


def summary_of(plan: dict[str, Any], folder: Path) -> pd.DataFrame:
    write_report(plan, summary=folder / "summary.tsv", cells=folder / "cells.parquet", report=folder / "report.html")
    return pd.read_csv(folder / "summary.tsv", sep="\t", index_col="sample")


def test_the_page_and_the_tables_hold_all_samples(sample: Any, plan: dict[str, Any], job: Callable[..., Any]) -> None:
    outputs = {"summary": "summary.tsv", "cells": "cells.parquet", "report": "report.html"}
    snakemake = job("report", input={}, output=outputs, plan=plan)
    report.main(snakemake)
    table = pd.read_csv(snakemake.output.summary, sep="\t", index_col="sample")
    assert list(table["status"]) == ["ok", "failed", "missing"]
    cells = pd.read_parquet(snakemake.output.cells)
    assert set(cells["sample"]) == {"good"}
    assert table.loc["good", "n_cells"] == len(cells)
    page = Path(snakemake.output.report).read_text()
    for text in ("cut.tif is cut short", "Copy the image again.", "good", "later"):
        assert text in page
    assert describe_code(code_facts()).removeprefix("cohortseg ") in page


def test_versions_that_differ_between_samples_are_all_told(plan: dict[str, Any], results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "good", results / "later")
    facts = json.loads((results / "later" / "metadata.json").read_text())
    facts["versions"]["numpy"], facts["code"]["commit"] = "1.99.1", "0123456789abcdef"
    (results / "later" / "metadata.json").write_text(json.dumps(facts))
    summary_of(plan, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert f"{version('numpy')}, 1.99.1" in page
    assert "commit 0123456789ab" in page


def test_the_failure_of_a_job_that_is_not_asked_for_any_more_does_not_count(
    plan: dict[str, Any], results: Path, tmp_path: Path
) -> None:
    (results / "good" / "failure.evaluate.json").write_text(json.dumps(FAILURE | {"rule": "evaluate"}))
    assert summary_of(plan, tmp_path).loc["good", "status"] == "ok"
    facts = plan["samples"]["good"] | {"labels": "truth.tif"}
    plan["samples"] = plan["samples"] | {"good": facts}
    assert summary_of(plan, tmp_path).loc["good", "status"] == "failed"


@pytest.mark.parametrize("rule", ["segment", "rasterise", "quantify", "assess"])
def test_a_sample_of_which_any_job_failed_is_told_without_old_numbers(
    rule: str, plan: dict[str, Any], results: Path, tmp_path: Path
) -> None:
    (results / "good" / f"failure.{rule}.json").write_text(
        json.dumps(FAILURE | {"rule": rule, "found": "no room left"})
    )
    row = summary_of(plan, tmp_path).loc["good"]
    assert (row["status"], np.isnan(row["n_cells"])) == ("failed", True)
    assert "no room left" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("file", ["cells.parquet", "quality.json"])
def test_a_sample_is_done_once_its_last_files_are_there(
    file: str, plan: dict[str, Any], results: Path, tmp_path: Path
) -> None:
    assert list(summary_of(plan, tmp_path)["verdict"]) == ["ok", "failed", "missing"]
    (results / "good" / file).unlink()
    assert list(summary_of(plan, tmp_path)["verdict"]) == ["missing", "failed", "missing"]


def test_thresholds_come_from_the_config(plan: dict[str, Any], results: Path, tmp_path: Path) -> None:
    quality = json.loads((results / "good" / "quality.json").read_text())
    quality["channels"][0]["saturated_in_cells"] = 0.2
    (results / "good" / "quality.json").write_text(json.dumps(quality))
    assert summary_of(plan, tmp_path).loc["good", "verdict"] == "look"
    plan["settings"]["qc"]["saturated_share"] = 0.3
    assert summary_of(plan, tmp_path).loc["good", "verdict"] == "ok"


def test_a_stack_that_failed_is_told(plan: dict[str, Any], results: Path, tmp_path: Path) -> None:
    (results / "stacks" / "tower").mkdir(parents=True)
    failure = FAILURE | {"rule": "stitch", "found": "planes of tower differ in shape"}
    (results / "stacks" / "tower" / "failure.stitch.json").write_text(json.dumps(failure))
    plan["stacks"] = {"tower": [{"sample": "good", "z_index": 0}]}
    summary_of(plan, tmp_path)
    assert "planes of tower differ in shape" in (tmp_path / "report.html").read_text()


def test_a_cohort_of_which_nothing_was_made_has_a_report(plan: dict[str, Any], tmp_path: Path) -> None:
    plan["results"] = str(tmp_path / "nowhere")
    assert set(summary_of(plan, tmp_path)["status"]) == {"missing"}
    assert len(pd.read_parquet(tmp_path / "cells.parquet")) == 0


def test_an_export_that_failed_is_told_and_its_sample_is_fine(
    plan: dict[str, Any], results: Path, tmp_path: Path
) -> None:
    def page() -> str:
        assert summary_of(plan, tmp_path).loc["good", "verdict"] == "ok"
        return (tmp_path / "report.html").read_text()

    exports = results / "good" / "exports"
    exports.mkdir()
    (results / "cohort").mkdir()
    for path, rule in (
        (exports / "failure.export.cells.h5ad.json", "export"),
        (exports / "failure.export_spatialdata.spatialdata.zarr.json", "export_spatialdata"),
        (exports / "failure.export.rois.zip.json", "export"),
        (results / "cohort" / "failure.export_cohort.json", "export_cohort"),
    ):
        path.write_text(json.dumps(FAILURE | {"rule": rule, "found": f"found by {path.name}"}))
    told = page()
    assert "3 exports failed." in told
    assert "<strong>good, cells.h5ad</strong>: found by failure.export.cells.h5ad.json" in told
    assert "<strong>cohort, cells.h5ad</strong>: found by failure.export_cohort.json" in told
    assert "rois.zip" not in told, "not asked for any more"
    (exports / "spatialdata.zarr").mkdir()
    assert "2 exports failed." in page(), "a batch made it since"
    plan["exports"] = []
    assert "export failed" not in page().replace("exports failed", "export failed")
