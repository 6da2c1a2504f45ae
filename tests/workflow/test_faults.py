"""A corrupt image fails its own sample with one clear error; the rest of the cohort completes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BROKEN = ("truncated", "text", "channel")


def break_cohort(folder: Path) -> None:
    """Add a truncated TIFF, a text named .tif and a missing channel to the cohort, and take the stack out."""
    whole = (folder / "images" / "z0.tif").read_bytes()
    (folder / "images" / "truncated.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "images" / "text.tif").write_text("no image at all\n", encoding="utf-8")
    rows = ["sample\timage\tchannels\tlabels", "lone\timages/lone.tif\t\tlabels/lone.tif"]
    rows += ["truncated\timages/truncated.tif\t\t", "text\timages/text.tif\t\t", "channel\timages/z1.tif\tDAPI\t"]
    (folder / "samples.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, copy_cohort: Callable[[Path], Any]) -> tuple[Any, str]:
    """Return the cohort after its run, and what the run printed."""
    cohort = copy_cohort(tmp_path_factory.mktemp("broken") / "cohort")
    break_cohort(cohort.folder)
    done = cohort.snakemake()
    assert done.returncode != 0
    return cohort, done.stdout + done.stderr


def test_the_other_samples_complete(broken: tuple[Any, str]) -> None:
    lone = broken[0].folder / "results" / "lone"
    for file in ("polygons.parquet", "metadata.json", "mask.zarr", "cells.parquet", "evaluation.json"):
        assert (lone / file).exists()


@pytest.mark.parametrize(
    ("sample", "named"),
    [("truncated", "truncated.tif"), ("text", "text.tif"), ("channel", "channel 'DAPI' is not in z1.tif")],
)
def test_a_broken_sample_has_one_clear_error_and_no_results(broken: tuple[Any, str], sample: str, named: str) -> None:
    cohort, printed = broken
    log = (cohort.folder / "logs" / "segment" / f"{sample}.log").read_text(encoding="utf-8")
    assert named in log
    assert "Traceback" not in log
    assert named in printed
    assert not (cohort.folder / "results" / sample / "polygons.parquet").exists()
    assert not (cohort.folder / "results" / sample / "metadata.json").exists()


def test_the_report_lists_the_failures_and_their_causes(broken: tuple[Any, str]) -> None:
    report = (broken[0].folder / "results" / "cohort" / "report.html").read_text(encoding="utf-8")
    assert all(sample in report for sample in (*BROKEN, "lone"))
    assert "text.tif" in report
    assert "DAPI" in report


def test_the_run_continues_once_the_faults_are_mended(broken: tuple[Any, str]) -> None:
    folder = broken[0].folder
    sheet = folder / "samples.tsv"
    lone = "sample\timage\tchannels\tlabels\nlone\timages/lone.tif\t\tlabels/lone.tif\n"
    sheet.write_text(lone, encoding="utf-8")
    assert broken[0].planned() == {("benchmarks", ""), ("report", "")}
    broken[0].run()
    report = (folder / "results" / "cohort" / "report.html").read_text(encoding="utf-8")
    assert "truncated" not in report
