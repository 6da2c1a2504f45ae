"""The jobs of a batch: what each rule would do for each of its images, as plain data, and which are done.

Imports nothing of the engine: the plan asks for all of this whenever the workflow is parsed.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class BatchJob:
    """One job of a rule.

    Parameters
    ----------
    rule, name
        The rule, and what tells this job from others of the rule: names its log and its benchmark.
    inputs, outputs
        Files by the names that the rule gives them.
    params
        As the rule's, without `decisive`.
    decisive
        What of the settings decides the result, as data that JSON can hold.
    part
        What tells it from other jobs of the rule with results in the same folder; empty where there are none.
    """

    rule: str
    name: str
    inputs: Mapping[str, str | Sequence[str]]
    outputs: Mapping[str, str]
    params: Mapping[str, Any]
    decisive: Any
    part: str = ""

    @property
    def label(self) -> str:
        """What tells it from all other jobs."""
        return f"{self.rule}/{self.name}"

    def input_files(self) -> list[str]:
        """Return all inputs."""
        return [file for each in self.inputs.values() for file in ([each] if isinstance(each, str) else each)]


def jobs_of(plan: Mapping[str, Any], samples: Sequence[str], stacks: Sequence[str]) -> Iterator[BatchJob]:
    """Yield the jobs of a batch, each after those whose outputs it reads.

    Parameters
    ----------
    plan
        As `steps.plan.make_plan` makes it; that of other samples and stacks may be missing.
    samples, stacks
        Those of the batch; the planes of its stacks are among its samples.
    """
    # Nuclei, which have none themselves, before the cells that are measured with them.
    for name in sorted(samples, key=lambda name: plan["samples"][name]["nuclei"] is not None):
        yield from _of_sample(plan, name)
    for name in stacks:
        yield from _of_stack(plan, name)


def manifest_of(
    plan: Mapping[str, Any], batch: str, samples: Sequence[str], stacks: Sequence[str], *, trusting: bool
) -> str:
    """Return the file that says that a batch is done.

    Snakemake knows this file of a batch only. Where it is there but a result that it stands for is not, or is not what
    the batch would make, a file with the next number is returned, which is not there, so that the batch runs again.

    Parameters
    ----------
    trusting
        The results are what the file says, as a job takes it that the main process has looked.
    """
    folder = Path(plan["results"], "cohort", "batches")
    numbers = [int(path.name.split(".")[1]) for path in folder.glob(f"{batch}.*.json")]
    last = max(numbers, default=1)
    records = Records()
    whole = (
        trusting
        or not numbers
        or all(records.says_done(job, plan["results_version"]) for job in jobs_of(plan, samples, stacks))
    )
    return str(folder / f"{batch}.{last if whole else last + 1}.json")


class Records:
    """What batches made, by the folders of the results: `batch.json`, what each output depended on when it was made."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, Any]] = {}

    def of(self, job: BatchJob) -> dict[str, Any]:
        """Return the records of a job's folder, by rule and name; none where the file is damaged."""
        path = record_of(job)
        if path not in self._read:
            self._read[path] = _read(path)
        return self._read[path]

    def says_done(self, job: BatchJob, version: str) -> bool:
        """Tell whether a job's outputs are there, and made by a batch from what its inputs and settings are now."""
        try:
            return bool(self.of(job).get(job.label) == describe(job, version))
        except OSError:
            return False


def record_of(job: BatchJob) -> Path:
    """Return the file that holds what is known of a job."""
    return Path(next(iter(job.outputs.values()))).parent / "batch.json"


def describe(job: BatchJob, version: str) -> Any:
    """Return what a job's outputs depend on, and what they are, as JSON gives it back; OSError where one is missing."""
    stamps = {
        "inputs": {file: stamp_of(file) for file in job.input_files()},
        "outputs": {file: stamp_of(file) for file in job.outputs.values()},
    }
    return json.loads(json.dumps({"results_version": version, "decisive": job.decisive, **stamps}))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_sample(plan: Mapping[str, Any], name: str) -> Iterator[BatchJob]:
    sample, settings, folder = plan["samples"][name], plan["settings"], f"{plan['results']}/{name}"
    image = {} if sample["url"] else {"image": sample["image"]}
    polygons, metadata = f"{folder}/polygons.parquet", f"{folder}/metadata.json"
    cells = {"polygons": polygons, "metadata": metadata}
    yield BatchJob(
        "segment",
        name,
        {**image, "checkpoint": sample["model_path"], "size_model": sample["size_model_path"], "intensities": []},
        cells,
        {"sample": name, "settings": sample["segment"], "url": sample["url"], "z_index": sample["z_index"]},
        sample["decisive"],
    )
    rasterise = {"rasterise": settings["rasterise"]}
    others = {"tiff": f"{folder}/mask.tif", "boundaries": f"{folder}/boundaries.zarr"}
    masks = {key: file for key, file in others.items() if settings["rasterise"][key]}
    yield BatchJob(
        "rasterise",
        name,
        cells,
        {"mask": f"{folder}/mask.zarr", **masks},
        {"sample": name, "settings": rasterise},
        rasterise,
    )
    quantify = {"quantify": settings["quantify"]}
    measured = f"{folder}/cells.parquet"
    more = {key: f"{folder}/{file}" for key, file in plan["measured"].items()}
    yield BatchJob(
        "quantify",
        name,
        {**cells, **image, **_nuclei_of(plan, name)},
        {"cells": measured, **more},
        {"sample": name, "settings": quantify, "url": sample["url"]},
        {**quantify, "nuclei": sample["nuclei"]},
    )
    assess = {"report": {"thumbnail_px": settings["report"]["thumbnail_px"]}}
    files = {"quality": "quality.json", "preview": "preview.png", "crops": "crops.png"}
    yield BatchJob(
        "assess",
        name,
        {**cells, "cells": measured, **image},
        {key: f"{folder}/{file}" for key, file in files.items()},
        {"sample": name, "settings": assess, "url": sample["url"]},
        assess,
    )
    for file in plan["exports"]:
        with_image = file == "spatialdata.zarr" and settings["export"]["spatialdata_image"]
        yield BatchJob(
            "export",
            f"{name}.{file}",
            {**cells, "cells": measured, **(image if with_image else {})},
            {"file": f"{folder}/exports/{file}"},
            {"sample": name, "settings": {"image": with_image}, "url": sample["url"]},
            with_image,
            part=file,
        )
    if sample["labels"]:
        labels = {**cells, "labels": sample["labels"]}
        yield BatchJob("evaluate", name, labels, {"evaluation": f"{folder}/evaluation.json"}, {"sample": name}, None)


def _nuclei_of(plan: Mapping[str, Any], name: str) -> dict[str, str | Sequence[str]]:
    """Return the inputs of quantify that are of the nuclei's sample; empty lists where there is none."""
    nuclei = plan["samples"][name]["nuclei"]
    files = {"nuclei": "polygons.parquet", "nuclei_metadata": "metadata.json"}
    return {key: f"{plan['results']}/{nuclei}/{file}" if nuclei else [] for key, file in files.items()}


def _of_stack(plan: Mapping[str, Any], stack: str) -> Iterator[BatchJob]:
    results, planes = plan["results"], plan["stacks"][stack]
    folder = f"{results}/stacks/{stack}"
    files = {
        file: [f"{results}/{plane['sample']}/{name}" for plane in planes]
        for file, name in (("polygons", "polygons.parquet"), ("metadata", "metadata.json"))
    }
    configs = f"{folder}/configs.yml"
    order = {"stack": stack, "planes": planes}
    yield BatchJob("assemble", stack, {"metadata": files["metadata"]}, {"configs": configs}, order, planes)
    overlaps = []
    for pair in plan["pairs"][stack]:
        name = f"{pair['lower_z']}_{pair['upper_z']}"
        overlaps.append(f"{folder}/overlaps/{name}.parquet")
        folders = [f"{results}/{pair[plane]}" for plane in ("lower", "upper")]
        inputs = {
            "polygons": [f"{each}/polygons.parquet" for each in folders],
            "metadata": [f"{each}/metadata.json" for each in folders],
        }
        outputs = {"overlaps": overlaps[-1]}
        yield BatchJob("overlaps", f"{stack}.{name}", inputs, outputs, {"pair": name}, None, part=name)
    settings = {key: plan["settings"][key] for key in ("stitch", "rasterise")}
    images = [plan["samples"][plane["sample"]]["image"] for plane in planes]
    yield BatchJob(
        "stitch",
        stack,
        {"configs": configs, **files, "overlaps": overlaps, "images": list(dict.fromkeys(filter(None, images)))},
        {
            "polygons3d": f"{folder}/3d_polygons.parquet",
            "objects": f"{folder}/objects.parquet",
            "mask3d": f"{folder}/3d_mask.zarr",
            "link_report": f"{folder}/link_report.json",
            "through_z": f"{folder}/through_z.png",
            "projection": f"{folder}/projection.png",
        },
        {"stack": stack, "settings": settings},
        {"stitch": plan["stitch_decisive"], "rasterise": settings["rasterise"]},
    )


def stamp_of(file: str) -> list[int]:
    """Return what tells a file, or a folder, from what it was before: its size, and when it was written."""
    found = os.stat(file)
    return [found.st_size, found.st_mtime_ns]
