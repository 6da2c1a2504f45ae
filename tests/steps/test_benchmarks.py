"""Step benchmarks: Snakemake's benchmark files in, one table and a figure out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cohortseg.errors import TableError
from cohortseg.steps import benchmarks
from cohortseg.steps.benchmarks import read_benchmark, read_benchmarks

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


def write(folder: Path, step: str, name: str, *, seconds: float, rss: str = "100.0", read: str = "2.0") -> None:
    path = folder / step / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}\n{seconds}\t0:00:01\t{rss}\t1\t1\t1\t{read}\t0.5\t90.0\t{2 * seconds}\n")


@pytest.fixture
def made(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """Return the plan of a sample of one job and one of two, in a stack, and the folder of their benchmarks."""
    folder = tmp_path / "benchmarks"
    samples = {}
    for name, scatter in (("a", 1), ("b", 2)):
        facts = {
            "shape": [1000, 2000],
            "seconds": {"read": 1.0, "total": 3.0},
            "peak_memory_bytes": {"read": 10, "total": 5e8},
        }
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "metadata.json").write_text(json.dumps(facts))
        samples[name] = {"scatter": scatter, "labels": None, "segment": {"normalise": {"policy": "image"}}}
        write(folder, "rasterise", name, seconds=1.0)
        write(folder, "quantify", name, seconds=1.0)
        write(folder, "assess", name, seconds=1.0)
    write(folder, "segment", "a", seconds=4.0)
    write(folder, "segment", "b", seconds=999.0)  # of an earlier run, when b was one job
    for step, name in (("prepare", "b"), ("segment_part", "b.1-of-2"), ("segment_part", "b.2-of-2"), ("gather", "b")):
        write(folder, step, name, seconds=2.0, rss="NA", read="NA")
    write(folder, "stitch", "s", seconds=8.0)
    stacks = {"s": [{"sample": "a", "z_index": 0}, {"sample": "b", "z_index": 1}]}
    return {"results": str(tmp_path / "results"), "samples": samples, "stacks": stacks}, folder


def test_every_job_of_the_plan_has_a_row_and_a_segmentation_its_stages(
    made: tuple[dict[str, Any], Path], job: Callable[..., Any]
) -> None:
    plan, folder = made
    outputs = {"benchmarks": "benchmarks.tsv", "figure": "benchmarks.png"}
    snakemake = job("benchmarks", input={}, output=outputs, plan=plan, folder=str(folder))
    benchmarks.main(snakemake)
    table = read_benchmarks(Path(snakemake.output.benchmarks))
    assert table is not None
    jobs = table[table["stage"] == ""].set_index(["step", "name"])
    assert jobs.index.tolist() == [
        ("prepare", "b"), ("segment", "a"), ("segment_part", "b.1-of-2"), ("segment_part", "b.2-of-2"), ("gather", "b"),
        ("rasterise", "a"), ("rasterise", "b"), ("quantify", "a"), ("quantify", "b"), ("assess", "a"),
        ("assess", "b"), ("stitch", "s"),
    ]  # fmt: skip
    segment = jobs.loc[("segment", "a")]
    assert (segment["seconds"], segment["cpu_seconds"], segment["read_bytes"]) == (4.0, 8.0, 2 * 2**20)
    assert segment["mpx_per_s"] == 0.5
    assert segment["peak_memory_bytes"] == 5e8  # what the segmentation knew, more than Snakemake saw
    assert jobs.loc[("segment_part", "b.1-of-2"), "image_px"] == 1e6
    assert np.isnan(jobs.loc[("gather", "b"), "peak_memory_bytes"])
    assert jobs.loc[("stitch", "s"), "image_px"] == 4e6
    stages = table[table["stage"] != ""]
    assert stages[["step", "stage", "name", "seconds"]].to_numpy().tolist() == [
        ["segment", "read", "a", 1.0], ["segment", "total", "a", 3.0],
    ]  # fmt: skip
    assert Path(snakemake.output.figure).read_bytes().startswith(b"\x89PNG")
    # The stack's assembly was never measured: that is said, not made up.
    assert "s has no benchmark" in Path(snakemake.log[0]).read_text()


def test_a_file_that_is_no_benchmark_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("s\tio_in\n1\t2\n")
    with pytest.raises(TableError, match="lacks cpu_time, max_rss, io_out"):
        read_benchmark(tmp_path / "a.tsv")
    (tmp_path / "b.tsv").write_text(HEAD + "\n")
    with pytest.raises(TableError):
        read_benchmark(tmp_path / "b.tsv")


def test_without_a_table_there_is_nothing_to_show(tmp_path: Path) -> None:
    assert read_benchmarks(tmp_path / "benchmarks.tsv") is None


def test_numbers_that_are_not_known_are_empty(made: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    plan, folder = made
    benchmarks.write_benchmarks(plan, folder, tmp_path / "t.tsv", tmp_path / "f.png")
    rows = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert rows.loc[rows["step"] == "gather", "read_bytes"].isna().all()
