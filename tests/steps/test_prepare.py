"""Step prepare: what the parts of a scattered image share."""

from pathlib import Path
from typing import Any

from cohortseg.networks import Network
from cohortseg.settings import Settings
from cohortseg.steps.prepare import prepare_file, read_prepared
from cohortseg.stores.tables import read_json


def test_what_is_measured_once_comes_back_exactly(
    sample: Any, network: Network, cpu_settings: Settings, tmp_path: Path
) -> None:
    settings = cpu_settings.segment_settings().model_copy(update={"diameter": None})
    prepare_file(sample.image, tmp_path / "prepared.json", lambda _: network, settings, sample="a")
    prepared = read_prepared(tmp_path / "prepared.json").measured
    assert prepared.diameter.origin in {"estimated", "network"}
    assert prepared.normalisation.lower < prepared.normalisation.upper
    prepare_file(sample.image, tmp_path / "again.json", lambda _: network, settings, sample="a")
    assert read_prepared(tmp_path / "again.json").measured == prepared


def test_it_is_what_one_job_measures(sample: Any, network: Network, cpu_settings: Settings, tmp_path: Path) -> None:
    prepared_json = tmp_path / "prepared.json"
    prepare_file(sample.image, prepared_json, lambda _: network, cpu_settings.segment_settings(), sample="a")
    prepared, whole = read_prepared(prepared_json).measured, read_json(sample.metadata)
    assert list(prepared.normalisation.lower) == whole["normalisation"]["lower"]
    assert list(prepared.normalisation.upper) == whole["normalisation"]["upper"]
    assert (prepared.diameter.diameter_px, prepared.diameter.origin) == (20.0, "given")
