"""The plan of a cohort: config and sample sheet, checked as a whole, as plain data for the Snakefile.

`python -m cohortseg.steps.plan` reads the config as JSON and prints the plan as JSON: the Snakefile calls it, so that
parsing the workflow imports nothing of the engine.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cohortseg.errors import CohortsegError
from cohortseg.networks.models import find_network
from cohortseg.settings import (
    ComparedModel,
    Sample,
    SegmentSettings,
    StitchSettings,
    load_block,
    load_settings,
    parse_sheet,
)
from cohortseg.settings.fields import is_url
from cohortseg.settings.sheet import CountPlanes
from cohortseg.settings.weights import Weights
from cohortseg.steps.batch_plan import plan_batches_of
from cohortseg.steps.parts import with_parts
from cohortseg.steps.training import plan_training
from cohortseg.stores.sheet import read_sheet
from cohortseg.tiling.stacks import pairs_of

RESULTS_VERSION = "5"
"""Raised whenever the engine would give another result for the same input; every rule carries it, so that all rerun."""


def count_planes(image: str, segment: SegmentSettings) -> int:
    """Return how many planes an image file has, opened as its segmentation would; ImageError where it cannot be."""
    # Only sheets with whole stacks in a file need the readers of images, which take a while to import.
    from cohortseg.stores.images import open_image
    from cohortseg.stores.source import PageSelection

    with open_image(Path(image), PageSelection.of(segment)) as source:
        return source.n_planes


def count_planes_if_there(image: str, segment: SegmentSettings) -> int:
    """Return `count_planes`, or 0 for a file that went missing or was damaged since the workflow started.

    Its planes are then not in the plan of a job, so that the jobs of other images go on.
    """
    try:
        return count_planes(image, segment)
    except CohortsegError:
        return 0


def make_plan(
    config: Mapping[str, object],
    exists: Callable[[str], bool] = os.path.exists,
    count_planes: CountPlanes = count_planes,
    *,
    trusting: bool = False,
) -> dict[str, Any]:
    """Return what the workflow has to do, as data that JSON can hold.

    Parameters
    ----------
    config
        The config as Snakemake has it; relative paths start at the working directory.
    exists
        Whether a path is there.
    count_planes
        How many planes a file has, for rows of which `plane` is all.
    trusting
        What the main process found of sizes of images and of results of batches holds.

    Returns
    -------
    dict
        `results_version`; `results`, the folder; `settings`, the whole config; `samples`, by name: image or url,
        labels, nuclei, stack, z_index, `model_path` and `size_model_path`, lists of the files of the networks that its
        modality may choose among, those that come with the package apart, `segment` with all settings of its
        segmentation, `decisive` with those that decide the result, `scatter`, the jobs it is cut into;
        `stacks`, by name: sample and z_index of each plane, in z order; `pairs`, by stack: `lower` and `upper` sample,
        `lower_z` and `upper_z` of each two planes whose cells may be linked; `measured`, the files beside
        cells.parquet, by what they hold; `exports`, the files for other programs that are made of every sample;
        `stitch_decisive`; `compare`, by name of the compared model and of the labelled sample: the same of the sample
        segmented with that model; `batches`, by name: the samples and stacks that one job handles, and the `manifest`
        that says that it is done.

    Raises
    ------
    SettingsError, SampleSheetError, MissingFileError
        Each lists all faults of its kind; of weights that are not there, the first.
    """
    settings = load_settings(config)
    sheet = Path(settings.samples)
    base = str(sheet.absolute().parent)
    parsed = parse_sheet(read_sheet(sheet), base, settings, exists, count_planes)
    samples = with_parts(parsed, settings.part_mpx, trusting=trusting)
    stacks = _stack_plans(samples)
    weights = {sample.sample: _find_networks(sample.segment, exists) for sample in samples}
    plan = {
        "results_version": RESULTS_VERSION,
        "results": settings.results,
        "settings": settings.model_dump(mode="json"),
        "samples": {sample.sample: _sample_plan(sample, weights[sample.sample]) for sample in samples},
        "stacks": stacks,
        "pairs": {name: _pair_plans(planes, settings.stitch) for name, planes in stacks.items()},
        "measured": settings.quantify.others(),
        "exports": settings.export.files(),
        "stitch_decisive": settings.stitch.decisive(),
        "training": plan_training(settings, exists),
        "compare": {model.name: _compare_plan(model, samples, exists) for model in settings.compare.models},
    }
    return plan | {"batches": plan_batches_of(samples, plan, trusting=trusting)}


def _compare_plan(
    model: ComparedModel, samples: Sequence[Sample], exists: Callable[[str], bool]
) -> dict[str, dict[str, Any]]:
    """Return the plan of each labelled sample with what a compared model replaces; an error names the model."""
    plans = {}
    for sample in samples:
        if sample.labels is None:
            continue
        try:
            segment = load_block(SegmentSettings, sample.segment.overriding(model.overrides()))
            weights = _find_networks(segment, exists)
        except CohortsegError as error:
            found = f"entry '{model.name}' of compare.models, sample '{sample.sample}': {error.found}"
            raise type(error)(found, error.expected, error.remedy) from error
        plans[sample.sample] = _sample_plan(replace(sample, segment=segment, scatter=1), weights)
    return plans


def _find_networks(segment: SegmentSettings, exists: Callable[[str], bool]) -> list[Weights]:
    """Return the files of each network that an image may come to be segmented with, which its modality decides."""
    return [find_network(candidate, exists) for candidate in segment.candidates()]


def _sample_plan(sample: Sample, weights: Sequence[Weights]) -> dict[str, Any]:
    # A network that comes with the package is part of it; the files of all others are inputs of the jobs, so that
    # another file reruns them. Where they lie does not decide the result: `decisive` keeps what the user wrote.
    brought = [each.checkpoint for each in weights if each.entry is None or not each.entry.built_in]
    size_models = [each.size_model for each in weights if each.size_model is not None]
    return {
        "image": None if is_url(sample.image) else _portable(sample.image),
        "url": sample.image if is_url(sample.image) else None,
        "labels": _portable(sample.labels) if sample.labels else None,
        "nuclei": sample.nuclei,
        "stack": sample.stack,
        "z_index": sample.z_index,
        "model_path": list(dict.fromkeys(brought)),
        "size_model_path": list(dict.fromkeys(size_models)),
        "segment": sample.segment.model_dump(mode="json"),
        "decisive": sample.segment.decisive() | ({"url": sample.image} if is_url(sample.image) else {}),
        "scatter": sample.scatter,
    }


def _portable(path: str) -> str:
    """Return a path relative to the working directory where it is below, so that moving the cohort reruns nothing."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _stack_plans(samples: Sequence[Sample]) -> dict[str, list[dict[str, Any]]]:
    planes = sorted((sample.stack, sample.z_index, sample.sample) for sample in samples if sample.stack is not None)
    stacks: dict[str, list[dict[str, Any]]] = {}
    for stack, z_index, name in planes:
        stacks.setdefault(stack, []).append({"sample": name, "z_index": z_index})
    return stacks


def _pair_plans(planes: Sequence[Mapping[str, Any]], settings: StitchSettings) -> list[dict[str, Any]]:
    names = {plane["z_index"]: plane["sample"] for plane in planes}
    return [
        {"lower": names[lower], "upper": names[upper], "lower_z": lower, "upper_z": upper}
        for lower, upper in pairs_of(list(names), settings.max_gap, settings.max_step())
    ]


def main(arguments: Sequence[str]) -> int:
    """Print the plan of the config on standard input; with --trust-files, do not look whether files are there.

    Returns
    -------
    int
        0, or 2 after printing what is wrong on standard error.
    """
    trusting = "--trust-files" in arguments
    try:
        config = json.load(sys.stdin)
        trusted = (lambda _: True, count_planes_if_there) if trusting else ()
        plan = make_plan(config, *trusted, trusting=trusting)
        json.dump(plan, sys.stdout)
    except CohortsegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
