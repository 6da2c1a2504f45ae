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
BATCHED = {name for batch in PLAN["batches"].values() for name in batch["samples"]}
SAMPLES = [name for name in PLAN["samples"] if name not in BATCHED]
STACKS_APART = [name for name, planes in PLAN["stacks"].items() if planes[0]["sample"] not in BATCHED]
SCATTERED = [name for name, sample in PLAN["samples"].items() if sample["scatter"] > 1]
LABELLED = [name for name, sample in PLAN["samples"].items() if sample["labels"]]

# What each step makes, but for images in batches, whose job makes all of it and whose manifests say so.
BATCHES = [batch["manifest"] for batch in PLAN["batches"].values()]
POLYGONS = expand(f"{RESULTS}/{{sample}}/polygons.parquet", sample=SAMPLES)
METADATA = expand(f"{RESULTS}/{{sample}}/metadata.json", sample=SAMPLES)
MASKS = expand(f"{RESULTS}/{{sample}}/mask.zarr", sample=SAMPLES)
CELLS = expand(f"{RESULTS}/{{sample}}/cells.parquet", sample=SAMPLES)
# Snakemake takes a job whose outputs became more for done where only the others are asked for: all of them have to be.
MORE_TABLES = expand(f"{RESULTS}/{{sample}}/{{file}}", sample=SAMPLES, file=PLAN["measured"].values())
QUALITY = expand(f"{RESULTS}/{{sample}}/quality.json", sample=SAMPLES)
PICTURES = expand(f"{RESULTS}/{{sample}}/{{file}}", sample=SAMPLES, file=["preview.png", "crops.png"])
EVALUATIONS = expand(f"{RESULTS}/{{sample}}/evaluation.json", sample=[name for name in LABELLED if name not in BATCHED])
EXPORTS = expand(f"{RESULTS}/{{sample}}/exports/{{file}}", sample=SAMPLES, file=PLAN["exports"])
COHORT_EXPORTS = [f"{COHORT}/{file}" for file in PLAN["exports"] if file == "cells.h5ad"]
EVALUATION_FILES = ["evaluation.tsv", "evaluation_summary.tsv", "evaluation.png"]
COHORT_EVALUATION = expand(f"{COHORT}/{{file}}", file=EVALUATION_FILES if LABELLED else [])
TRAINED = f"{RESULTS}/train/{PLAN['settings']['training']['name']}"
COMPARED = f"{RESULTS}/compare/{{compared}}/{{sample}}"
BENCHMARKS = expand(f"{COHORT}/{{file}}", file=["benchmarks.tsv", "benchmarks.png"])
REPORT = expand(f"{COHORT}/{{file}}", file=["summary.tsv", "cells.parquet", "report.html"])
STACK_FILES = [
    "configs.yml",
    "3d_polygons.parquet",
    "objects.parquet",
    "3d_mask.zarr",
    "link_report.json",
    "through_z.png",
    "projection.png",
]
STACKS = expand(f"{RESULTS}/stacks/{{stack}}/{{file}}", stack=STACKS_APART, file=STACK_FILES)
OBJECTS = expand(f"{RESULTS}/stacks/{{stack}}/objects.parquet", stack=STACKS_APART)
LINK_REPORTS = expand(
    f"{RESULTS}/stacks/{{stack}}/{{file}}",
    stack=STACKS_APART,
    file=["link_report.json", "through_z.png", "projection.png"],
)


SAMPLE_PATTERN = r"(?!(?:cohort|compare|stacks|train)/)[A-Za-z0-9_-][A-Za-z0-9._-]*"


wildcard_constraints:
    sample=SAMPLE_PATTERN,
    stack=r"[A-Za-z0-9_-][A-Za-z0-9._-]*",


if PLAN["batches"] and workflow.storage_settings.default_storage_provider:
    raise WorkflowError(
        "batch is above 1 and results go to a storage provider, which takes only files that Snakemake knows; "
        "set batch: 1."
    )
if workflow.is_main_process and len(SAMPLES) > 500:
    logger.info(
        f"{len(SAMPLES)} images have jobs of their own. Where they are small, `batch: 50` in the config saves most of the time."
    )


def sample_plan(wildcards):
    """Return the plan of one sample; of the same segmented with a compared model, where the job is for one."""
    compared = wildcards.get("compared")
    plans = PLAN["compare"][compared] if compared else PLAN["samples"]
    if wildcards.sample not in plans:
        what = "labelled sample" if compared else "sample"
        raise WorkflowError(f"{what} '{wildcards.sample}' is not in {PLAN['settings']['samples']}")
    return plans[wildcards.sample]


def one_of(names):
    """Return a pattern that matches these names only."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def needs_gpu(wildcards):
    """Return how many GPUs a job asks for that runs the network."""
    return int(sample_plan(wildcards)["segment"]["device"] != "cpu")


def segmenting_mb(wildcards, attempt):
    """Return the memory of a job that runs the network, which does not depend on the size of the image."""
    return 8000 * attempt


def size_mb(files):
    """Return the size of one or several files in MB."""
    return sum(map(os.path.getsize, [files] if isinstance(files, str) else files)) / 1e6


def segmenting_minutes(wildcards, input, attempt):
    """Return the time of a job that runs the network, from the size of its files; it is generous, and a day at most."""
    # Folders (zarr) and URLs do not say how much they hold.
    unknown = not input or any(map(os.path.isdir, input))
    minutes = 8 * 60 if unknown else max(120, round(size_mb(list(input)) / 20))
    return min(attempt * minutes, 24 * 60)


def with_cells_mb(base_mb, key):
    """Return a function for resources: the memory of a job that reads the tables of cells among its inputs whole."""
    return lambda wildcards, input, attempt: attempt * (base_mb + round(10 * size_mb(input[key])))


def measuring_mb(wildcards, input, attempt):
    """Return the memory of a job that measures cells: their outlines, and 8 bytes for each number of the table."""
    wanted = PLAN["settings"]["quantify"]
    try:
        facts = json.loads(Path(input.metadata).read_text(encoding="utf-8"))
        n_values = facts["counts"]["cells"] * len(wanted["channels"] or facts["image_channels"])
    except (ValueError, KeyError, TypeError):
        n_values = 0  # of a damaged file, which the job itself names, and which costs the other samples nothing
    # The whole cell, its nucleus and cytoplasm, its ring; and the background, measured and recorded.
    compartments = 1 + 2 * bool(sample_plan(wildcards)["nuclei"]) + bool(wanted["ring_px"])
    each = compartments * (len(wanted["statistics"]) + len(wanted["percentiles"])) + 2 * bool(wanted["background"])
    table_mb = 8e-6 * n_values * each
    return attempt * (2000 + round(10 * size_mb(input.polygons) + 1.2 * table_mb))


def cohort_intensities(wildcards):
    """Return the table of the cohort's intensities where a sample is scaled by them."""
    policy = sample_plan(wildcards)["segment"]["normalise"]["policy"]
    return [f"{COHORT}/intensities.tsv"] if policy == "cohort" else []


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


def images_of_planes(wildcards):
    """Return the images of the planes of a stack that are files, each once: several planes may be of one."""
    images = [PLAN["samples"][plane["sample"]]["image"] for plane in stack_planes(wildcards)]
    return [local(path) for path in dict.fromkeys(images) if path]


def overlaps_of_stack(wildcards):
    """Return the overlaps of each two planes of a stack whose cells may be linked."""
    stack_planes(wildcards)
    folder = f"{RESULTS}/stacks/{wildcards.stack}/overlaps"
    return [f"{folder}/{pair['lower_z']}_{pair['upper_z']}.parquet" for pair in PLAN["pairs"][wildcards.stack]]


def of_pair(file):
    """Return an input function: this file of two planes of a stack whose cells may be linked, the lower first."""

    def find(wildcards):
        stack_planes(wildcards)
        for pair in PLAN["pairs"][wildcards.stack]:
            if (str(pair["lower_z"]), str(pair["upper_z"])) == (wildcards.lower_z, wildcards.upper_z):
                return [f"{RESULTS}/{pair[plane]}/{file}" for plane in ("lower", "upper")]
        raise WorkflowError(
            f"planes {wildcards.lower_z} and {wildcards.upper_z} of stack '{wildcards.stack}' are not compared"
        )

    return find


def sample_file(key):
    """Return an input function: the file, or the files, that the plan of a sample names, or none."""

    def find(wildcards):
        found = sample_plan(wildcards)[key]
        if isinstance(found, list):
            return [local(path) for path in found]
        # Not a list of one: scripts take a single file as text.
        return local(found) if found else []

    return find


def of_nuclei(file):
    """Return an input function: this file of the sample whose cells are the nuclei of a sample's, or none."""

    def find(wildcards):
        nuclei = sample_plan(wildcards)["nuclei"]
        return f"{RESULTS}/{nuclei}/{file}" if nuclei else []

    return find


def of_compared(file):
    """Return an input function: this file of every labelled sample from every compared model, or an error."""

    def find(wildcards):
        if not PLAN["compare"]:
            raise WorkflowError("compare.models is empty. List models in the config; config/README.md shows how.")
        if not LABELLED:
            raise WorkflowError(f"no sample has labels to compare with. Name them in {PLAN['settings']['samples']}.")
        return expand(f"{COMPARED}/{file}", compared=PLAN["compare"], sample=LABELLED)

    return find


def training_plan():
    """Return the plan of the training, or stop where the config has none."""
    if not PLAN["training"]:
        raise WorkflowError(
            "training.sheet is not set. Name a training sheet in the config; config/README.md says how."
        )
    return PLAN["training"]


def training_file(key):
    """Return an input function: the files that the plan of the training names."""

    def find(wildcards):
        found = training_plan()[key]
        return [local(path) for path in found] if isinstance(found, list) else local(found)

    return find


def training_value(key):
    """Return a function for params: what the plan of the training says."""
    return lambda wildcards: training_plan()[key]


def batch_plan(wildcards):
    """Return the samples and stacks of a batch."""
    if wildcards.batch not in PLAN["batches"]:
        raise WorkflowError(f"there is no batch {wildcards.batch}; there are {len(PLAN['batches'])}")
    return PLAN["batches"][wildcards.batch]


def of_batch(key):
    """Return an input function: the files that the plans of a batch's samples name, each once."""

    def find(wildcards):
        found = [PLAN["samples"][name][key] or [] for name in batch_plan(wildcards)["samples"]]
        paths = [path for each in found for path in ([each] if isinstance(each, str) else each)]
        return [local(path) for path in dict.fromkeys(paths)]

    return find


def batch_needs_gpu(wildcards):
    """Return how many GPUs the job of a batch asks for."""
    devices = {PLAN["samples"][name]["segment"]["device"] for name in batch_plan(wildcards)["samples"]}
    return int(devices != {"cpu"})


def plan_of_batch(wildcards):
    """Return what of the plan the job of a batch needs."""
    batch = batch_plan(wildcards)
    parts = {"samples": batch["samples"], "stacks": batch["stacks"], "pairs": batch["stacks"]}
    common = ("results", "results_version", "settings", "measured", "exports", "stitch_decisive")
    whole = {key: PLAN[key] for key in common}
    return whole | {key: {name: PLAN[key][name] for name in names} for key, names in parts.items()}


def batch_decisive(wildcards):
    """Return what decides the results of a batch."""
    batch, settings = batch_plan(wildcards), PLAN["settings"]
    samples = [PLAN["samples"][name] for name in batch["samples"]]
    return {
        "samples": [
            [sample[key] for key in ("decisive", "image", "labels", "nuclei", "z_index")] for sample in samples
        ],
        "rasterise": settings["rasterise"],
        "quantify": settings["quantify"],
        "assess": settings["report"]["thumbnail_px"],
        "export": settings["export"],
        "stitch": PLAN["stitch_decisive"] if batch["stacks"] else None,
    }
