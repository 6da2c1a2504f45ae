"""Step cohort_intensities: percentiles of images in, medians and drift out; and what segmentation makes of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cohortseg.settings import Settings
from cohortseg.steps import cohort_intensities, prepare
from cohortseg.steps.cohort_intensities import settled, tabulate_intensities


def image(name: str, upper: float, error: str | None = None) -> dict[str, Any]:
    inputs = {"modality": "fluorescence", "dtype": "uint16", "name": "DAPI", "lower": 100.1, "upper": upper}
    return {"sample": name, "error": error, "inputs": [] if error else [inputs]}


IMAGES = [image("one", 1100.1), image("two", 2100.1), image("three", 4100.1), image("cut", 0, "cut.tif\tis\ncut")]


@pytest.fixture
def table(tmp_path: Path, job: Callable[..., Any]) -> Path:
    """Return the table of a cohort of four images, one of which could not be read."""
    snakemake = job("cohort_intensities", input={}, output={"intensities": "intensities.tsv"})
    paths = [tmp_path / f"{each['sample']}.json" for each in IMAGES]
    for path, each in zip(paths, IMAGES, strict=True):
        path.write_text(json.dumps(each))
    snakemake.input.intensities = [str(path) for path in paths]
    cohort_intensities.main(snakemake)
    return Path(snakemake.output.intensities)


def test_each_image_has_a_row_with_the_medians_and_its_drift(table: Path) -> None:
    rows = pd.read_csv(table, sep="\t").set_index("sample")
    assert rows["cohort_upper"].dropna().tolist() == [2100.1] * 3
    assert rows.loc[["one", "two", "three"], "drift"].tolist() == pytest.approx([-1, 0, 1])
    assert rows.loc["cut", "error"] == "cut.tif is cut"


def test_a_sample_is_segmented_with_the_cohorts_values_exactly(table: Path, cpu_settings: Settings) -> None:
    settings = cpu_settings.segment_settings()
    by_cohort = settings.model_copy(update={"normalise": settings.normalise.model_copy(update={"policy": "cohort"})})
    (entry,) = settled(by_cohort, "one", [str(table)]).normalise.channels
    assert (entry.channel, entry.lower, entry.upper) == ("DAPI", 100.1, 2100.1)
    assert settled(by_cohort, "cut", [str(table)]).normalise.channels == ()
    assert settled(settings, "one", []) is settings


def test_a_job_takes_the_values_of_its_table(
    sample: Any, table: Path, cpu_settings: Settings, job: Callable[..., Any]
) -> None:
    settings = cpu_settings.segment_settings().model_dump(mode="json")
    snakemake = job(
        "prepare",
        input={"image": sample.image},
        output={"prepared": "prepared.json"},
        sample="two",
        settings=settings | {"normalise": {"policy": "cohort"}},
    )
    snakemake.input.intensities = [str(table)]
    prepare.main(snakemake)
    found = json.loads(Path(snakemake.output.prepared).read_text())
    assert found["normalisation"] == {"lower": [100.1], "upper": [2100.1]}


def test_a_cohort_without_any_readable_image_is_a_table_of_errors() -> None:
    assert tabulate_intensities(IMAGES[3:])["error"].tolist() == ["cut.tif is cut"]
