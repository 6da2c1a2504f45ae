"""A cohort in batches: the same results from fewer jobs, and nothing lost where one image fails."""

import json
import shutil
from pathlib import Path
from typing import Any

BATCH = ("--config", "batch=2")


def differing(one: Path, other: Path) -> list[str]:
    """Return the files of samples and stacks that differ, those apart that say when, how long, or who made them."""
    told = {"metadata.json", "batch.json", ".snakemake_timestamp"}
    kept = [
        {
            path.relative_to(root): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.name not in told
        }
        for root in (one, other)
    ]
    names = [file for file in kept[0].keys() | kept[1].keys() if file.parts[0] != "cohort"]
    assert len(names) > 20
    return sorted(str(file) for file in names if kept[0].get(file) != kept[1].get(file))


def test_batches_give_the_bytes_of_single_jobs_and_know_what_is_missing(fresh: Any, finished_once: Any) -> None:
    fresh.run(*BATCH)
    results = fresh.folder / "results"
    assert differing(results, finished_once.folder / "results") == []
    facts = [
        json.loads((cohort.folder / "results/lone/metadata.json").read_text()) for cohort in (fresh, finished_once)
    ]
    timed = {"seconds", "peak_memory_bytes"}
    assert {key for key in facts[0] if facts[0][key] != facts[1][key]} <= timed
    assert fresh.planned(*BATCH) == set()
    shutil.rmtree(results / "z1" / "mask.zarr")
    cohort_wide = {("benchmarks", ""), ("evaluate_cohort", ""), ("report", "")}
    assert fresh.planned(*BATCH) == {("batch", "0000")} | cohort_wide
    assert fresh.planned("results/z1/mask.zarr", *BATCH) == {("rasterise", "z1")}
    # Back to single jobs: what batches made is taken where the settings are the same, and refused where they are not.
    refused = fresh.snakemake("--dry-run", "--config", "postprocess={min_size: 30}")
    assert refused.returncode
    assert "3 samples were made in batches with other settings" in refused.stdout + refused.stderr
    assert not {rule for rule, _ in fresh.planned()} & {"segment", "batch", "quantify", "stitch"}


def test_a_bad_image_fails_alone_and_the_next_run_goes_on(fresh: Any) -> None:
    image = fresh.folder / "images" / "lone.tif"
    whole = image.read_bytes()
    image.write_bytes(whole[:2000])
    done = fresh.snakemake("--config", "batch=3")
    assert done.returncode != 0
    results = fresh.folder / "results"
    assert (results / "stacks" / "pair" / "objects.parquet").is_file()
    summary = (results / "cohort" / "summary.tsv").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[:2] for line in summary[1:]] == [["z0", "ok"], ["z1", "ok"], ["lone", "failed"]]
    written = (results / "z0" / "polygons.parquet").stat().st_mtime_ns
    image.write_bytes(whole)
    fresh.run("--config", "batch=3")
    assert (results / "z0" / "polygons.parquet").stat().st_mtime_ns == written
    assert (results / "lone" / "evaluation.json").is_file()
