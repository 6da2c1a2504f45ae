"""Step cohort_intensities: the percentiles of all images in, their medians and each image's drift out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cohortseg.segment.intensities import Intensities, cohort_medians, drift, with_bounds
from cohortseg.settings import SegmentSettings
from cohortseg.steps.job import run_job
from cohortseg.stores.tables import read_json, read_tsv, write_tsv

_COLUMNS = (
    "sample",
    "modality",
    "dtype",
    "channel",
    "lower",
    "upper",
    "cohort_lower",
    "cohort_upper",
    "drift",
    "error",
)


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        images = [read_json(Path(path)) for path in snakemake.input.intensities]
        write_tsv(Path(snakemake.output.intensities), tabulate_intensities(images))

    run_job(snakemake, step)


def tabulate_intensities(images: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row for each input of each image, as `steps.intensities` wrote them.

    Columns: `sample`, `modality`, `dtype`, `channel`, its `lower` and `upper` percentile, the medians `cohort_lower`
    and `cohort_upper` of the images that are alike, its `drift` from them (log2 of the ratio of the ranges), and
    `error`, why an image could not be measured.
    """
    measured = [(image, Intensities(**each)) for image in images for each in image["inputs"]]
    medians = cohort_medians([each for _, each in measured])
    rows = [
        {
            "sample": image["sample"],
            "modality": each.modality,
            "dtype": each.dtype,
            "channel": each.name,
            "lower": each.lower,
            "upper": each.upper,
            "cohort_lower": medians[each.kind][0],
            "cohort_upper": medians[each.kind][1],
            "drift": drift(each, medians),
        }
        for image, each in measured
    ]
    # A table of one line each: what breaks lines or columns is no part of a message.
    rows += [
        {"sample": image["sample"], "error": " ".join(image["error"].split())} for image in images if image["error"]
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def settled(settings: SegmentSettings, sample: str, tables: Sequence[str]) -> SegmentSettings:
    """Return the settings of a sample with its cohort's intensities, where the job was given the table of them."""
    if not tables:
        return settings
    (table,) = tables
    rows = read_tsv(Path(table))
    own = rows[(rows["sample"] == sample) & (rows["error"] == "")]
    bounds = {
        name: (float(lower), float(upper))
        for name, lower, upper in zip(own["channel"], own["cohort_lower"], own["cohort_upper"], strict=True)
    }
    return with_bounds(settings, bounds)
