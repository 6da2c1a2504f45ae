"""The plan of a cohort: config and sample sheet, checked as a whole, as plain data for the Snakefile.

`python -m cohortseg.steps.plan` reads the config as JSON and prints the plan as JSON: the Snakefile calls it, so that
parsing the workflow imports nothing of the engine.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cohortseg.errors import CohortsegError
from cohortseg.settings import Sample, load_settings, parse_sheet
from cohortseg.settings.weights import check_weights
from cohortseg.stores.sheet import read_sheet

RESULTS_VERSION = "1"
"""Raised whenever the engine would give another result for the same input; every rule carries it, so that all rerun."""


def make_plan(config: Mapping[str, object], exists: Callable[[str], bool] = os.path.exists) -> dict[str, Any]:
    """Return what the workflow has to do, as data that JSON can hold.

    Parameters
    ----------
    config
        The config as Snakemake has it; relative paths start at the working directory.
    exists
        Whether a path is there.

    Returns
    -------
    dict
        `results_version`; `results`, the folder; `settings`, the whole config; `samples`, by name: image, labels,
        stack, z_index, `segment` with all settings of its segmentation, `decisive` with those that decide the
        result, `scatter`, the jobs it is cut into; `stacks`, by name: sample and z_index of each plane, in z order;
        `stitch_decisive`.

    Raises
    ------
    SettingsError, SampleSheetError, MissingFileError
        Each lists all faults of its kind; of weights that are not there, the first.
    """
    settings = load_settings(config)
    sheet = Path(settings.samples)
    samples = parse_sheet(read_sheet(sheet), str(sheet.absolute().parent), settings, exists)
    for sample in samples:
        check_weights(sample.segment, exists)
    return {
        "results_version": RESULTS_VERSION,
        "results": settings.results,
        "settings": settings.model_dump(mode="json"),
        "samples": {sample.sample: _sample_plan(sample) for sample in samples},
        "stacks": _stack_plans(samples),
        "stitch_decisive": settings.stitch.decisive(),
    }


def _sample_plan(sample: Sample) -> dict[str, Any]:
    return {
        "image": _portable(sample.image),
        "labels": _portable(sample.labels) if sample.labels else None,
        "stack": sample.stack,
        "z_index": sample.z_index,
        "segment": sample.segment.model_dump(mode="json"),
        "decisive": sample.segment.decisive(),
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


def main(arguments: Sequence[str]) -> int:
    """Print the plan of the config on standard input; with --trust-files, do not look whether files are there.

    Returns
    -------
    int
        0, or 2 after printing what is wrong on standard error.
    """
    exists = (lambda _: True) if "--trust-files" in arguments else os.path.exists
    try:
        json.dump(make_plan(json.load(sys.stdin), exists), sys.stdout)
    except CohortsegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
