"""What changes rerun what: rows of the table in config/README.md that no other test of real runs stands for."""

import zipfile
from typing import Any

import pytest

from cohortseg.stores.flags import Flags

SAMPLES = ("z0", "z1", "lone")
COHORT = {("benchmarks", ""), ("report", "")}

CHANGES = {
    "rasterise={chunk_px: 512}": {("rasterise", sample) for sample in SAMPLES} | {("stitch", "pair")} | COHORT,
    "quantify={channels: [0]}": {(rule, sample) for rule in ("quantify", "assess") for sample in SAMPLES} | COHORT,
    "qc={fold: 3}": {("report", "")},
    "report={thumbnail_px: 300}": {("assess", sample) for sample in SAMPLES} | COHORT,
    "rasterise={tiff: true}": {("rasterise", sample) for sample in SAMPLES} | {("stitch", "pair")} | COHORT,
    "quantify={csv: true}": {(rule, sample) for rule in ("quantify", "assess") for sample in SAMPLES} | COHORT,
    "report={title: Another}": {("report", "")},
    "archive={license: CC0-1.0}": set(),
    "precision=fp32": set(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_key_reruns_what_depends_on_it_and_nothing_else(finished_once: Any, change: str) -> None:
    assert finished_once.planned("--config", change) == CHANGES[change]


def test_touched_labels_rerun_the_evaluation_only(finished: Any) -> None:
    (finished.folder / "labels" / "lone.tif").touch()
    assert finished.planned() == {("evaluate", "lone"), ("evaluate_cohort", "")} | COHORT


def test_the_archive_holds_the_cohort_and_is_made_anew_where_it_would_differ(finished: Any) -> None:
    finished.run("archive")
    packed = finished.folder / "results" / "cohort.crate.zip"
    with zipfile.ZipFile(packed) as stored:
        names = set(stored.namelist())
    made = {f"results/{sample}/{file}" for sample in SAMPLES for file in ("polygons.parquet", "cells.parquet")}
    made |= {"results/cohort/report.html", "results/stacks/pair/objects.parquet", "results/lone/evaluation.json"}
    assert made | {"logs/segment/z0.log", "config/samples.tsv", "ro-crate-metadata.json"} <= names
    assert not any(name.startswith(("images", "labels", "/")) or ".." in name for name in names)
    assert finished.planned("archive") == set()
    assert finished.planned("archive", "--config", "archive={license: CC0-1.0}") == {("archive", "")}
    Flags(finished.folder / "results" / "cohort" / "flags.tsv").put("z0", 1, "good", x_px=1, y_px=1)
    assert finished.planned() == set()
    assert finished.planned("archive") == {("archive", "")}
