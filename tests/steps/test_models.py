"""`cohortseg models`: what is here is listed, what is not is fetched, what is wrong is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cohortseg.cli import main
from cohortseg.errors import CheckpointError, DownloadError, SettingsError
from cohortseg.networks import fetch as downloads
from cohortseg.networks.unet import ResidualUNet
from cohortseg.steps import models
from cohortseg.steps.models import fetch_networks, list_networks, table_of, verify_networks

SIZE = {"A": np.zeros((1, 8)), "smean": np.zeros(8), "diam_mean": 30.0, "ymean": 0.0}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COHORTSEG_MODELS_PATH", str(tmp_path / "models"))
    for variable in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def cyto3(folder: Path) -> Path:
    """Networks as Cellpose 3 has them, but small."""
    torch.save(ResidualUNet((2, 4, 8), styled=True).state_dict(), folder / "cyto3")
    np.save(folder / "size_cyto3.npy", np.array(SIZE, dtype=object))
    return folder / "cyto3"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that would have been downloaded from; what comes is a file with a few bytes."""
    asked: list[str] = []

    def fetched(url: str, file: Path, sha256: str | None, **_: Any) -> downloads.Record:
        asked.append(url)
        file.write_bytes(b"weights")
        return downloads.Record(url, downloads.sha256_of(file), 7, sha256 is not None, "today")

    monkeypatch.setattr(models, "fetch", fetched)
    return asked


def test_the_list_says_which_networks_are_here(cyto3: Path) -> None:
    found = {each["name"]: each for each in list_networks()}
    assert found["cyto3"]["path"] == str(cyto3)
    assert found["cyto3"]["bytes"] == cyto3.stat().st_size
    assert found["cpsam"]["path"] is None
    assert found["nuclei-mini"]["built_in"]
    lines = {line.split()[0]: line for line in table_of(list_networks())}
    assert "no" in lines["cpsam"].split()
    assert "MB" in lines["cyto3"]
    assert "no size model" not in lines["cyto3"]
    (cyto3.parent / "size_cyto3.npy").unlink()
    assert any("no size model" in line for line in table_of(list_networks()))


def test_the_command_prints_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", "list", "--json"])
    assert not ended.value.code
    assert "nuclei-mini" in {each["name"] for each in json.loads(capsys.readouterr().out)}


def test_a_network_is_fetched_with_its_size_model_and_only_once(folder: Path, web: list[str]) -> None:
    said: list[str] = []
    fetch_networks(["cyto3"], allow_in_job=False, say=said.append)
    assert web == ["https://www.cellpose.org/models/cyto3", "https://www.cellpose.org/models/size_cyto3.npy"]
    assert (folder / "cyto3").is_file()
    assert any("not published, recorded for later checks" in line for line in said)
    fetch_networks(["cyto3"], allow_in_job=False, say=said.append)
    assert len(web) == 2
    assert said[-1].endswith("size_cyto3.npy is here already")


def test_nothing_is_downloaded_inside_a_cluster_job_unless_allowed(
    web: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with pytest.raises(SettingsError, match=r"this is job 17 of a cluster.*--allow-in-job"):
        fetch_networks(["cpsam"], allow_in_job=False, say=lambda _: None)
    assert not web
    fetch_networks(["cpsam"], allow_in_job=True, say=lambda _: None)
    assert len(web) == 1


@pytest.mark.parametrize("variable", ["PBS_JOBID", "LSB_JOBID"])
def test_other_schedulers_are_known_and_what_is_here_needs_no_download(
    web: list[str], cyto3: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "17")
    fetch_networks(["cyto3"], allow_in_job=False, say=lambda _: None)
    with pytest.raises(SettingsError, match=r"cpsam is not here, and this is job 17 of a cluster"):
        fetch_networks(["cpsam"], allow_in_job=False, say=lambda _: None)
    assert not web


def test_a_download_is_checked_as_what_the_network_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def fetched(url: str, file: Path, sha256: str | None, *, check: Callable[[Path], object], **_: Any) -> None:
        torch.save({"W2": torch.ones(1), "encoder.pos_embed": torch.ones(1)}, tmp_path / "sam")
        checked.append(file.name)
        check(tmp_path / "sam")
        raise DownloadError("stop", "", "")

    monkeypatch.setattr(models, "fetch", fetched)
    with pytest.raises(CheckpointError, match=r"is a transformer of Cellpose 4.*residual U-Net .* was expected"):
        fetch_networks(["cyto3"], allow_in_job=False, say=lambda _: None)
    with pytest.raises(DownloadError, match="stop"):
        fetch_networks(["cpsam"], allow_in_job=False, say=lambda _: None)
    assert checked == ["cyto3", "cpsam"]


def test_the_list_tells_all_of_a_network(cyto3: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", "list", "cyto3", "nuclei-mini"])
    assert not ended.value.code
    printed = capsys.readouterr().out
    for line in ("channels:    cytoplasm, nuclei or nothing", "url:         https://www.cellpose.org/models/cyto3"):
        assert line in printed
    assert "sha256:      not known" in printed
    assert "(in the record of its training)" in printed
    record(cyto3)
    (found,) = list_networks(["cyto3"])
    assert found["sha256"] == downloads.sha256_of(cyto3)
    assert "recorded at the first download, not published" in found["sha256_origin"]
    with pytest.raises(SettingsError, match="model 'cyto9' is not known"):
        list_networks(["cyto9"])


def test_names_are_checked_before_anything_is_fetched(web: list[str], folder: Path) -> None:
    with pytest.raises(SettingsError, match="model 'cyto4' is not known; did you mean"):
        fetch_networks(["cyto3", "cyto4"], allow_in_job=False, say=lambda _: None)
    assert not web
    (folder / "models.yaml").write_text(
        "networks: {he: {family: residual-unet, file_name: he.pt, channels: [grey], diameter_px: 25, "
        "modality: histology, licence: CC0}}\n"
    )
    with pytest.raises(SettingsError, match=r"'he' has no address.*Copy he\.pt to"):
        fetch_networks(["he"], allow_in_job=False, say=lambda _: None)


def record(file: Path, **changes: Any) -> None:
    facts = {"url": "https://x/y", "sha256": downloads.sha256_of(file), "bytes": 1, "published": False, "date": ""}
    downloads.record_path(file).write_text(json.dumps(facts | changes))


def test_the_networks_that_come_with_the_package_are_right() -> None:
    assert all(verdict.good for verdict in verify_networks([]))


def test_a_file_is_held_to_what_was_recorded_when_it_came(cyto3: Path) -> None:
    checkpoint, size = verify_networks(["cyto3"])
    assert (checkpoint.good, size.good) == (True, True)
    assert "sha256 is not known" in checkpoint.text
    record(cyto3)
    checkpoint, _ = verify_networks(["cyto3"])
    assert checkpoint.good
    assert "recorded at the first download, not published" in checkpoint.text
    record(cyto3, sha256="0" * 64)
    checkpoint, _ = verify_networks(["cyto3"])
    assert not checkpoint.good
    assert f"not {'0' * 64}" in checkpoint.text


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_no_network_is_wrong_and_ends_with_2(
    cyto3: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    cyto3.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["models", "verify"])
    assert ended.value.code == 2
    printed = capsys.readouterr().out
    assert "WRONG cyto3:" in printed
    assert "ok    nuclei-mini:" in printed


def test_what_is_asked_for_by_name_has_to_be_here() -> None:
    (verdict,) = verify_networks(["cpsam"])
    assert (verdict.good, verdict.text) == (False, "it is not here")


def test_a_network_of_another_family_is_wrong(folder: Path, cyto3: Path) -> None:
    cyto3.rename(folder / "cpsam")
    (verdict, *_) = verify_networks(["cpsam"])
    assert not verdict.good
    assert "has no encoder that Cellpose 4 has" in verdict.text
