"""Step benchmarks: what Snakemake measured of each job in, benchmarks.tsv and a figure out."""

import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cohortseg.errors import TableError
from cohortseg.report import BENCHMARK_COLUMNS, benchmarks_png
from cohortseg.steps.job import run_job
from cohortseg.stores.tables import read_json, read_tsv, write_bytes, write_tsv

_LOGGER = logging.getLogger("cohortseg")
_MIB = 2**20
"""Snakemake measures memory, and what is read from and written to the disk, in MiB."""


class _Job(NamedTuple):
    """A job whose benchmark is looked for, and how many pixels it works on."""

    step: str
    name: str
    image_px: float


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""
    output, folder = snakemake.output, Path(snakemake.params.folder)
    run_job(
        snakemake,
        lambda: write_benchmarks(snakemake.params.plan, folder, Path(output.benchmarks), Path(output.figure)),
    )


def write_benchmarks(plan: Mapping[str, Any], folder: Path, table: Path, figure: Path) -> None:
    """Write what the jobs of a cohort took, the stages of a segmentation below its job.

    Parameters
    ----------
    plan
        As `steps.plan.make_plan` makes it.
    folder
        Snakemake's own benchmarks, `<rule>/<name>.tsv`. A job without one (its file was deleted) is left out with a
        warning.
    """
    results = Path(plan["results"])
    rows = [row for job in _jobs_of(plan, results) for row in _rows_of(job, folder, results)]
    gathered = pd.DataFrame(rows, columns=list(BENCHMARK_COLUMNS))
    write_tsv(table, gathered)
    write_bytes(figure, benchmarks_png(gathered))


def _jobs_of(plan: Mapping[str, Any], results: Path) -> Iterator[_Job]:
    """Yield the jobs of all samples and stacks, step after step."""
    sizes = {name: _image_px(results / name / "metadata.json") for name in plan["samples"]}
    parts = {name: sample["scatter"] for name, sample in plan["samples"].items()}
    scattered = [name for name, count in parts.items() if count > 1]
    cohort_wide = [name for name, sample in plan["samples"].items() if _is_cohort_wide(sample)]
    labelled = [name for name, sample in plan["samples"].items() if sample["labels"]]
    yield from (_Job("intensities", name, sizes[name]) for name in cohort_wide)
    yield from (_Job("prepare", name, sizes[name]) for name in scattered)
    yield from (_Job("segment", name, sizes[name]) for name in parts if parts[name] == 1)
    for name in scattered:
        count = parts[name]
        yield from (_Job("segment_part", f"{name}.{i + 1}-of-{count}", sizes[name] / count) for i in range(count))
    yield from (_Job("gather", name, sizes[name]) for name in scattered)
    yield from (_Job(step, name, sizes[name]) for step in ("rasterise", "quantify", "assess") for name in parts)
    yield from (_Job("evaluate", name, sizes[name]) for name in labelled)
    for step in ("assemble", "stitch"):
        for stack, planes in plan["stacks"].items():
            yield _Job(step, stack, sum(sizes[plane["sample"]] for plane in planes))


def _is_cohort_wide(sample: Mapping[str, Any]) -> bool:
    return bool(sample["segment"]["normalise"]["policy"] == "cohort")


def _image_px(metadata: Path) -> float:
    height, width = read_json(metadata)["shape"]
    return float(height * width)


def _rows_of(job: _Job, folder: Path, results: Path) -> Iterator[dict[str, Any]]:
    """Yield what was measured of a job, then of the stages of a segmentation."""
    path = folder / job.step / f"{job.name}.tsv"
    if not path.is_file():
        _LOGGER.warning("%s has no benchmark: %s is missing", job.name, path)
        return
    measured = read_benchmark(path)
    facts = read_json(results / job.name / "metadata.json") if job.step == "segment" else {}
    stages: Mapping[str, float] = facts.get("seconds", {})
    peaks: Mapping[str, float] = facts.get("peak_memory_bytes", {})
    # Snakemake looks at a job's memory now and then, and not at all at short ones; the segmentation knows its peak.
    peak = max([measured["peak_memory_bytes"], *peaks.values()], key=lambda n: -1 if math.isnan(n) else n)
    yield _row(job, "", measured | {"peak_memory_bytes": peak})
    for stage, seconds in stages.items():
        yield _row(job, stage, {"seconds": seconds, "peak_memory_bytes": peaks.get(stage, math.nan)})


def _row(job: _Job, stage: str, measured: Mapping[str, float]) -> dict[str, Any]:
    seconds = measured["seconds"]
    speed = job.image_px / 1e6 / seconds if seconds > 0 else math.nan
    return {"step": job.step, "stage": stage, "name": job.name, "image_px": job.image_px, **measured,
            "mpx_per_s": speed}  # fmt: skip


def read_benchmark(path: Path) -> dict[str, float]:
    """Return what Snakemake's benchmark file of a job says, in seconds and bytes; NaN where it could not measure.

    Of a job that was repeated, the last run counts.
    """
    columns = {
        "seconds": ("s", 1),
        "cpu_seconds": ("cpu_time", 1),
        "peak_memory_bytes": ("max_rss", _MIB),
        "read_bytes": ("io_in", _MIB),
        "written_bytes": ("io_out", _MIB),
    }
    rows = read_tsv(path)
    missing = [column for column, _ in columns.values() if column not in rows.columns]
    if missing:
        raise TableError(
            f"{path} lacks {', '.join(missing)}",
            "a benchmark file of Snakemake was expected",
            "Delete it and run again.",
        )
    last = rows.iloc[-1]
    return {
        name: float(pd.to_numeric(last[column], errors="coerce")) * unit for name, (column, unit) in columns.items()
    }


def read_benchmarks(path: Path) -> pd.DataFrame | None:
    """Return what `write_benchmarks` wrote; None where nothing has been gathered."""
    if not path.is_file():
        return None
    table = read_tsv(path)
    words = ("step", "stage", "name")
    return table.assign(**{name: pd.to_numeric(table[name]) for name in table.columns if name not in words})
