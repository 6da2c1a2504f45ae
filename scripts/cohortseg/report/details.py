"""What the page shows of one image when it is opened: plain data, rendered by the page's script."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from cohortseg.report.failures import describe_failure
from cohortseg.report.results import SampleResult

HISTOGRAMS = {"diameter_px": "Diameter (px)", "score": "Score", "flow_error": "Flow error"}
"""The distributions that are shown, by their name in quality.json."""

_FILES = {
    "cells.parquet": "measurements, a row for each cell",
    "polygons.parquet": "outlines",
    "mask.zarr": "label image",
    "preview.png": "this picture",
    "crops.png": "the cells below",
    "quality.json": "quality",
    "metadata.json": "everything about how it was made",
}


def describe_sample(sample: SampleResult, usual: Mapping[str, str]) -> dict[str, Any]:
    """Return the details of an image, but for its pictures.

    Parameters
    ----------
    usual
        The settings of most samples, as `usual_settings` returns them.

    Returns
    -------
    dict
        `failure` (as `describe_failure`, or null), `cells` (the cells of crops.png), `histograms` (counts, by name),
        `channels` and `tiles` (as quality.json has them), `stages` (name, seconds, bytes), `settings` (name, value,
        usual value, of those that differ), `provenance` (name, text) and `files` (name, address, what it holds).
    """
    facts, quality = sample.metadata, sample.quality or {}
    return {
        "failure": None if sample.failure is None else describe_failure(sample.failure),
        "cells": quality.get("crops", {}).get("cells", []),
        "histograms": {name: found["counts"] for name, found in quality.get("histograms", {}).items()},
        "channels": quality.get("channels", []),
        "tiles": quality.get("tiles"),
        "stages": _stages(facts),
        "settings": [
            [name, value, usual.get(name, "–")]
            for name, value in flat_settings(sample).items()
            if value != usual.get(name)
        ],
        "provenance": _provenance(facts),
        "files": _files(sample),
    }


def flat_settings(sample: SampleResult) -> dict[str, str]:
    """Return the settings that a sample was segmented with, by their dotted names, as JSON."""
    return dict(_flattened("", sample.metadata.get("settings", {})))


def usual_settings(samples: Iterable[SampleResult]) -> dict[str, str]:
    """Return for each setting the value that most samples have; of equally frequent ones, the first in the cohort."""
    counts: dict[str, Counter[str]] = {}
    for sample in samples:
        for name, value in flat_settings(sample).items():
            counts.setdefault(name, Counter())[value] += 1
    return {name: found.most_common(1)[0][0] for name, found in counts.items()}


def pooled_histograms(samples: Sequence[SampleResult]) -> dict[str, dict[str, list[float]]]:
    """Return the sums of the samples' histograms, by name: `edges` and `counts`; those without any cell are left out.

    All samples have the same edges.
    """
    pooled: dict[str, dict[str, list[float]]] = {}
    for name in HISTOGRAMS:
        found = [sample.quality["histograms"][name] for sample in samples if sample.quality is not None]
        if found:
            counts = np.sum([each["counts"] for each in found], axis=0)
            pooled[name] = {"edges": list(found[0]["edges"]), "counts": counts.tolist()}
    return pooled


def _flattened(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flattened(f"{prefix}.{name}" if prefix else str(name), inner)
    else:
        yield prefix, json.dumps(value, ensure_ascii=False, default=str)


def _stages(facts: Mapping[str, Any]) -> list[list[Any]]:
    """Return each stage of the segmentation with its seconds and peak memory, the whole last."""
    seconds, memory = facts.get("seconds"), facts.get("peak_memory_bytes")
    seconds = seconds if isinstance(seconds, Mapping) else {"total": seconds} if seconds is not None else {}
    memory = memory if isinstance(memory, Mapping) else {"total": memory}
    names = sorted(seconds, key=lambda name: name == "total")
    return [[name.replace("_", " "), seconds[name], memory.get(name)] for name in names]


def _provenance(facts: Mapping[str, Any]) -> list[list[str]]:
    """Return what an image's cells were made from and with, of what is known."""
    checksum, model, code = facts.get("image_checksum") or {}, facts.get("model") or {}, facts.get("code") or {}
    shape = facts.get("shape")
    commit = f"commit {code['commit']}{', modified' if code.get('modified') else ''}" if code.get("commit") else ""
    rows = {
        "image": facts.get("image"),
        "size": f"{shape[-1]:,} × {shape[-2]:,} px, {facts.get('dtype', '')}" if shape else None,
        "pixel size": f"{facts['pixel_size_um']:g} µm" if facts.get("pixel_size_um") else None,
        "file": f"{checksum['size_bytes']:,} bytes" if checksum.get("size_bytes") else None,
        "SHA-256 of the image": checksum.get("sha256"),
        "SHA-256 of samples of it": checksum.get("sampled_sha256"),
        "network": model.get("name"),
        "network's file": model.get("path"),
        "SHA-256 of the network": model.get("sha256"),
        "device": ", ".join(str(facts[key]) for key in ("device", "backend", "precision") if facts.get(key)),
        "cohortseg": " ".join(filter(None, (code.get("version"), commit))),
        "versions": ", ".join(f"{name} {text}" for name, text in facts.get("versions", {}).items()),
    }
    return [[name, str(value)] for name, value in rows.items() if value]


def _files(sample: SampleResult) -> list[list[str]]:
    """Return the files of a sample that is done, with their addresses as seen from the report."""
    if sample.status != "ok":
        return []
    folder = f"../{quote(sample.sample)}"
    return [[name, f"{folder}/{name}", what] for name, what in _FILES.items()]
