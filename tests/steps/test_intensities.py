"""Step intensities: an image in, the percentiles of its inputs out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.networks import Network
from cohortseg.settings import Settings
from cohortseg.steps import intensities


def job_of(job: Callable[..., Any], image: Path, settings: Settings) -> Any:
    return job(
        "intensities",
        input={"image": image},
        output={"intensities": "intensities.json"},
        sample="field",
        settings=settings.segment_settings().model_dump(mode="json"),
    )


def test_the_percentiles_of_the_channel_that_is_segmented_are_written(
    sample: Any, cpu_settings: Settings, job: Callable[..., Any]
) -> None:
    snakemake = job_of(job, sample.image, cpu_settings)
    intensities.main(snakemake)
    found = json.loads(Path(snakemake.output.intensities).read_text())
    (measured,) = found["inputs"]
    assert (found["sample"], found["error"]) == ("field", None)
    assert (measured["modality"], measured["dtype"], measured["name"]) == ("fluorescence", "uint16", "DAPI")
    assert [measured["lower"], measured["upper"]] == np.percentile(sample.pixels, (1, 99)).tolist()


def test_an_image_that_cannot_be_read_does_not_fail_the_cohort(
    tmp_path: Path, cpu_settings: Settings, job: Callable[..., Any]
) -> None:
    (tmp_path / "cut.tif").write_bytes(b"II*\0")
    snakemake = job_of(job, tmp_path / "cut.tif", cpu_settings)
    intensities.main(snakemake)
    found = json.loads(Path(snakemake.output.intensities).read_text())
    assert found["inputs"] == []
    assert "cut.tif" in found["error"]
    assert "left out of the cohort's intensities" in Path(snakemake.log[0]).read_text()


def test_no_gpu_is_asked_for(sample: Any, cpu_settings: Settings, network: Network, tmp_path: Path) -> None:
    asked = []

    def load(settings: Any) -> Network:
        asked.append((settings.device, settings.backend, settings.precision))
        return network

    wanted = cpu_settings.segment_settings().model_copy(update={"device": "cuda", "precision": "bf16"})
    intensities.measure_file(sample.image, tmp_path / "i.json", load, wanted, sample="field")
    assert asked == [("cpu", "auto", "auto")]
