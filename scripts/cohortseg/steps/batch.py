"""Step batch: every step of a few small images and their stacks in one job, so that a network is loaded once.

Each step does what its own rule would, with the same files, log, benchmark and failure; what is there and still true
is kept, so that a batch that runs again goes on where it ended.
"""

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from cohortseg.errors import ImageError
from cohortseg.steps import assemble, assess, evaluate, export, overlaps, quantify, rasterise, segment, stitch
from cohortseg.steps.batch_jobs import BatchJob, Records, describe, jobs_of, record_of
from cohortseg.steps.job import failure_file, run_job
from cohortseg.stores.tables import write_bytes, write_json, write_tsv

_LOGGER = logging.getLogger("cohortseg")


class _Files(list[str]):
    """The outputs of a job, by place and by name, as Snakemake gives them to scripts."""

    def __init__(self, files: Mapping[str, str]) -> None:
        super().__init__(files.values())
        vars(self).update(files)


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""
    params, manifest = snakemake.params, Path(snakemake.output.manifest)

    def step() -> None:
        jobs = jobs_of(params.plan, params.samples, params.stacks)
        marker = manifest.parent / f"{params.batch}.running"
        run_batch(list(jobs), params.results_version, marker, threads=snakemake.threads)
        write_json(manifest, {"samples": params.samples, "stacks": params.stacks})
        for other in manifest.parent.glob(f"{params.batch}.*.json"):
            if other != manifest:
                other.unlink(missing_ok=True)

    run_job(snakemake, step, part=params.batch)


def run_batch(jobs: Sequence[BatchJob], version: str, marker: Path, *, threads: int) -> None:
    """Run the jobs one after the other, those apart that are done; one that fails does not keep the others back.

    Nor does one that ends the whole process, such as an image that takes all memory: the next attempt does it last.

    Parameters
    ----------
    jobs
        Each after those whose outputs it reads.
    version
        Of the results; another one makes everything anew.
    marker
        Names the job under way.
    threads
        For each job.

    Raises
    ------
    ImageError
        After all others are done, if jobs failed.
    """
    mains = _mains()
    failed: list[str] = []
    lost: set[str] = set()
    made = kept = 0
    for job in _suspect_last(jobs, marker):
        records = Records()
        if lost.intersection(job.input_files()):
            lost |= _removed(job)
        elif records.says_done(job, version):
            kept += 1
        else:
            outputs = _removed(job)
            write_bytes(marker, job.label.encode())
            _LOGGER.info("%s of %s", job.rule, job.name)
            if _succeeds(job, mains[job.rule], threads):
                write_json(record_of(job), {**records.of(job), job.label: describe(job, version)})
                made += 1
            else:
                failed.append(f"{job.rule} of {job.name}")
                lost |= outputs
    marker.unlink(missing_ok=True)
    _LOGGER.info("%d steps were done now, %d before", made, kept)
    if failed:
        raise ImageError(
            f"{', '.join(failed)} failed",
            "what does not depend on that is done, and is kept",
            "Their logs say why. Correct the images, or take them from the sample sheet, and run again.",
        )


def _suspect_last(jobs: Sequence[BatchJob], marker: Path) -> list[BatchJob]:
    """Return the jobs, those of the image last at which an earlier attempt ended, which is noted for the report."""
    ended = next((job for job in jobs if marker.is_file() and marker.read_text(encoding="utf-8") == job.label), None)
    if ended is None:
        return list(jobs)
    text = (
        f"the process ended, or was ended, during {ended.rule} of {ended.name}: it may have run out of memory or time"
    )
    _LOGGER.warning("%s; it is tried again after all others", text)
    failure = failure_file(record_of(ended).parent, ended.rule, ended.part)
    write_json(failure, {"rule": ended.rule, "error": "JobEnded", "message": text, "log": _log_of(ended)})
    late: list[BatchJob] = []
    lost: set[str] = set()
    for job in jobs:
        if job.name == ended.name or lost.intersection(job.input_files()):
            late.append(job)
            lost |= set(job.outputs.values())
    return [job for job in jobs if job not in late] + late


def _mains() -> dict[str, Callable[[Any], None]]:
    load_network = segment.loader()
    return {
        "segment": lambda snakemake: segment.run(snakemake, load_network),
        "rasterise": rasterise.main,
        "quantify": quantify.main,
        "assess": assess.main,
        "evaluate": evaluate.main,
        "export": export.main,
        "assemble": assemble.main,
        "overlaps": overlaps.main,
        "stitch": stitch.main,
    }


def _removed(job: BatchJob) -> set[str]:
    """Remove the outputs of a job, as Snakemake does before a job: where it fails, nothing old is taken for new."""
    for file in map(Path, job.outputs.values()):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
    return set(job.outputs.values())


def _succeeds(job: BatchJob, main: Callable[[Any], None], threads: int) -> bool:
    """Run a job as its rule would, with its own log and benchmark; tell whether it came to its end."""
    snakemake = SimpleNamespace(
        rule=job.rule,
        input=SimpleNamespace(**job.inputs),
        output=_Files(job.outputs),
        params=SimpleNamespace(**job.params),
        threads=threads,
        log=[_log_of(job)],
    )
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    try:
        main(snakemake)
    except SystemExit:
        return False
    taken = {"s": time.perf_counter() - start_s, "cpu_time": time.process_time() - start_cpu_s}
    unknown = dict.fromkeys(("max_rss", "io_in", "io_out"), "-")
    write_tsv(Path("benchmarks", job.rule, f"{job.name}.tsv"), pd.DataFrame([{**taken, **unknown}]))
    return True


def _log_of(job: BatchJob) -> str:
    return f"logs/{job.rule}/{job.name}.log"
