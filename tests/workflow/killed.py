"""Runs the jobs of one sample again and again, each time killed at another moment; started by test_killed.py.

A process of its own: it imports everything once and forks for each moment, which the many threads of a test run forbid.
Usage: killed.py COHORT REFERENCE RESULTS SEED MOMENTS, with folders of a cohort, and of results to be made.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cohortseg.settings import load_settings
from cohortseg.steps import assess, quantify, rasterise, segment

OUTPUTS = {
    "segment": {"polygons": "polygons.parquet", "metadata": "metadata.json"},
    "rasterise": {"mask": "mask.zarr"},
    "quantify": {"cells": "cells.parquet"},
    "assess": {"quality": "quality.json", "preview": "preview.png", "crops": "crops.png"},
}


class Files(list[str]):
    """The files of a job, in their order and by name, as Snakemake gives them."""

    def __init__(self, folder: Path, names: dict[str, str]) -> None:
        paths = {name: str(folder / file) for name, file in names.items()}
        super().__init__(paths.values())
        vars(self).update(paths)


def make_job(rule: str, cohort: Path, results: Path) -> Any:
    """Return the object that Snakemake gives to the script of a rule."""
    pipeline = {"infer_size": 128, "overlap_margin": 16}
    settings = load_settings({"device": "cpu", "diameter": 20.0, "pipeline": pipeline})
    made = {name: str(results / file) for of in ("segment", "quantify") for name, file in OUTPUTS[of].items()}
    blocks = {name: getattr(settings, name).model_dump(mode="json") for name in ("rasterise", "quantify", "report")}
    whole = settings.segment_settings().model_dump(mode="json")
    return SimpleNamespace(
        rule=rule,
        input=SimpleNamespace(
            image=str(cohort / "images" / "lone.tif"), intensities=[], nuclei=[], nuclei_metadata=[], **made
        ),
        output=Files(results, OUTPUTS[rule]),
        params=SimpleNamespace(sample="lone", z_index=None, url=None, settings=whole if rule == "segment" else blocks),
        threads=2,
        log=[str(results.parent / f"{rule}.log")],
    )


def run_jobs(cohort: Path, results: Path) -> None:
    """Segment, rasterise, quantify and assess the sample."""
    for step in (segment, rasterise, quantify, assess):
        step.main(make_job(step.__name__.rpartition(".")[2], cohort, results))


def forked(work: Callable[[], None], kill_after_s: float | None) -> int:
    """Do the work in a process of its own, killed after a time; return its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Make the reference, then print after each kill what it hit, and end with an undisturbed run."""
    cohort, reference, results = map(Path, sys.argv[1:4])
    moments = random.Random(int(sys.argv[4]))
    forked(lambda: run_jobs(cohort, reference), None)  # what is compiled or converted only once
    begin_s = time.monotonic()
    assert forked(lambda: run_jobs(cohort, reference), None) == 0
    whole_s = time.monotonic() - begin_s
    for _ in range(int(sys.argv[5])):
        status = forked(lambda: run_jobs(cohort, results), moments.uniform(0, whole_s))
        # A copy of what is there under its final name: the next run replaces it.
        present = [path for path in sorted(results.glob("[!.]*")) if not path.name.startswith("failure")]
        print(status, *(path.name for path in present), sep="\t")
        sys.stdout.flush()
        sys.stdin.readline()
    assert forked(lambda: run_jobs(cohort, results), None) == 0


main()
