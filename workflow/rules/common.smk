# The plan of the cohort, and the helpers that the rules share. The engine makes the plan in a process of its own, so
# that parsing the workflow stays quick and free of its imports.

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ENGINE = Path(str(workflow.current_basedir)).parent.parent / "scripts"


def run_engine(module, *arguments, data):
    """Run a module of the engine with `data` as JSON on its standard input."""
    paths = [str(ENGINE), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        input=json.dumps(data, default=str),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )


def make_plan():
    """Check config and sample sheet as a whole and return the plan, or stop with all their faults."""
    # A job's own Snakemake trusts the main one: an image that goes missing meanwhile fails its own sample only.
    trust = [] if workflow.is_main_process else ["--trust-files"]
    done = run_engine("cohortseg.steps.plan", *trust, data=config)
    if done.returncode:
        raise WorkflowError(done.stderr.strip())
    return json.loads(done.stdout)


def write_partial_report():
    """Write the report of what there is after a failure, dated so that the next run makes it anew."""
    done = run_engine("cohortseg", "report", data=PLAN)
    if done.returncode:
        print(f"The report of the failed run could not be written: {done.stderr.strip()}", file=sys.stderr)
        return
    for path in REPORT:
        os.utime(path, (1, 1))
    print(f"{COHORT}/report.html lists what failed and why.", file=sys.stderr)


PLAN = make_plan()
RESULTS = PLAN["results"]
COHORT = f"{RESULTS}/cohort"
VERSION = PLAN["results_version"]
SCATTERED = [name for name, sample in PLAN["samples"].items() if sample["scatter"] > 1]
LABELLED = [name for name, sample in PLAN["samples"].items() if sample["labels"]]

POLYGONS = expand(f"{RESULTS}/{{sample}}/polygons.parquet", sample=PLAN["samples"])
METADATA = expand(f"{RESULTS}/{{sample}}/metadata.json", sample=PLAN["samples"])
MASKS = expand(f"{RESULTS}/{{sample}}/mask.zarr", sample=PLAN["samples"])
CELLS = expand(f"{RESULTS}/{{sample}}/cells.parquet", sample=PLAN["samples"])
PREVIEWS = expand(f"{RESULTS}/{{sample}}/preview.png", sample=PLAN["samples"])
EVALUATIONS = expand(f"{RESULTS}/{{sample}}/evaluation.json", sample=LABELLED)
REPORT = expand(f"{COHORT}/{{file}}", file=["summary.tsv", "cells.parquet", "report.html"])
OBJECTS = expand(f"{RESULTS}/stacks/{{stack}}/objects.parquet", stack=PLAN["stacks"])
STACKS = expand(
    f"{RESULTS}/stacks/{{stack}}/{{file}}",
    stack=PLAN["stacks"],
    file=["configs.yml", "3d_polygons.parquet", "objects.parquet", "3d_mask.zarr"],
)


SAMPLE_PATTERN = r"(?!(?:cohort|stacks)/)[A-Za-z0-9_-][A-Za-z0-9._-]*"


wildcard_constraints:
    sample=SAMPLE_PATTERN,
    stack=r"[A-Za-z0-9_-][A-Za-z0-9._-]*",


def sample_plan(wildcards):
    """Return the plan of one sample."""
    if wildcards.sample not in PLAN["samples"]:
        raise WorkflowError(f"sample '{wildcards.sample}' is not in {PLAN['settings']['samples']}")
    return PLAN["samples"][wildcards.sample]


def one_of(names):
    """Return a pattern that matches these names only."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def needs_gpu(wildcards):
    """Return how many GPUs a job asks for that runs the network."""
    return int(sample_plan(wildcards)["segment"]["device"] != "cpu")


def of_parts(suffix):
    """Return an input function: the file with this suffix of each part of a scattered image, in order."""

    def find(wildcards):
        count = sample_plan(wildcards)["scatter"]
        return [f"{RESULTS}/{wildcards.sample}/part-{i + 1}-of-{count}.{suffix}" for i in range(count)]

    return find


def stack_planes(wildcards):
    """Return the planes of one stack, in z order."""
    if wildcards.stack not in PLAN["stacks"]:
        raise WorkflowError(f"stack '{wildcards.stack}' is not in {PLAN['settings']['samples']}")
    return PLAN["stacks"][wildcards.stack]


def of_planes(file):
    """Return an input function: this file of each plane of a stack, in z order."""
    return lambda wildcards: [f"{RESULTS}/{plane['sample']}/{file}" for plane in stack_planes(wildcards)]


def sample_file(key):
    """Return an input function: the file that the sheet or the config names, or none where it names none."""

    def find(wildcards):
        plan = sample_plan(wildcards)
        path = plan[key] if key in plan else plan["segment"][key]
        return local(path) if path else []

    return find
