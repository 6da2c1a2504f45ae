"""Step batch: every step of a few small images and their stacks in one job, so that a network is loaded once.

Each step does what its own rule would, with the same files, log, benchmark and failure; what is there and still true
is kept, so that a batch that runs again goes on where it ended.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from cohortseg.errors import CohortsegError, ImageError
from cohortseg.steps import assemble, evaluate, overlaps, quantify, rasterise, segment, stitch
from cohortseg.steps.batch_jobs import BatchJob, jobs_of, stamp_of
from cohortseg.steps.job import run_job
from cohortseg.stores.tables import read_json, write_json, write_tsv

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
        run_batch(jobs, params.results_version, threads=snakemake.threads)
        write_json(manifest, {"samples": params.samples, "stacks": params.stacks})
        for other in manifest.parent.glob(f"{params.batch}.*.json"):
            if other != manifest:
                other.unlink(missing_ok=True)

    run_job(snakemake, step, part=params.batch)


def run_batch(jobs: Iterable[BatchJob], version: str, *, threads: int) -> None:
    """Run the jobs one after the other, those apart that are done; one that fails does not keep the others back.

    Parameters
    ----------
    jobs
        Each after those whose outputs it reads.
    version
        Of the results; another one makes everything anew.
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
    for job in jobs:
        if lost.intersection(job.input_files()):
            lost |= _removed(job)
        elif _is_done(job, version):
            kept += 1
        else:
            outputs = _removed(job)
            if _succeeds(job, mains[job.rule], threads):
                _keep(job, version)
                made += 1
            else:
                failed.append(f"{job.rule} of {job.name}")
                lost |= outputs
    _LOGGER.info("%d steps were done now, %d before", made, kept)
    if failed:
        raise ImageError(
            f"{', '.join(failed)} failed",
            "what does not depend on that is done, and is kept",
            "Their logs say why. Correct the images, or take them from the sample sheet, and run again.",
        )


def _mains() -> dict[str, Callable[[Any], None]]:
    load_network = segment.loader()
    return {
        "segment": lambda snakemake: segment.run(snakemake, load_network),
        "rasterise": rasterise.main,
        "quantify": quantify.main,
        "evaluate": evaluate.main,
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
        log=[f"logs/{job.rule}/{job.name}.log"],
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


def _record_of(job: BatchJob) -> Path:
    return Path(next(iter(job.outputs.values()))).parent / "batch.json"


def _key(job: BatchJob, version: str) -> Any:
    """Return what a job's outputs depend on, as JSON would give it back."""
    inputs = {file: stamp_of(file) for file in job.input_files()}
    return json.loads(json.dumps({"results_version": version, "decisive": job.decisive, "inputs": inputs}))


def _is_done(job: BatchJob, version: str) -> bool:
    if not all(Path(file).exists() for file in [*job.input_files(), *job.outputs.values()]):
        return False
    return bool(_records(_record_of(job)).get(f"{job.rule}/{job.name}") == _key(job, version))


def _keep(job: BatchJob, version: str) -> None:
    path = _record_of(job)
    write_json(path, {**_records(path), f"{job.rule}/{job.name}": _key(job, version)})


def _records(path: Path) -> dict[str, Any]:
    """Return what is known of the jobs of a folder; nothing where that is damaged, so that they run again."""
    if not path.is_file():
        return {}
    try:
        return read_json(path)
    except CohortsegError as error:
        _LOGGER.warning("%s; its steps are done again", error.found)
        return {}
