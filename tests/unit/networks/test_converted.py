"""The cache of converted networks: used, mended, and never in the way."""

import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino
import pytest

from cohortseg.errors import CheckpointError
from cohortseg.networks import Network
from cohortseg.networks.converted import load_converted
from cohortseg.settings import SegmentSettings

BATCH = np.random.default_rng(0).random((1, 2, 32, 32), np.float32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cohortseg" / "openvino"


def fields(path: Path) -> np.ndarray:
    return Network.of(SegmentSettings(device="cpu", model_path=str(path))).forward(BATCH)[0]


def test_a_network_that_was_converted_before_needs_no_torch(cellpose_file: Path, cache: Path, tmp_path: Path) -> None:
    load_converted(cellpose_file)
    assert [file.suffix for file in cache.iterdir()] == [".zip"]
    code = (
        "import sys, numpy as np\n"
        "from cohortseg.networks import Network\n"
        "from cohortseg.settings import SegmentSettings\n"
        f"network = Network.of(SegmentSettings(device='cpu', model_path={str(cellpose_file)!r}))\n"
        f"np.save({str(tmp_path / 'fields.npy')!r}, network.forward(np.load({str(tmp_path / 'batch.npy')!r}))[0])\n"
        "print(network.diameter_px, network.n_inputs, network.stride_px, 'torch' in sys.modules)\n"
    )
    np.save(tmp_path / "batch.npy", BATCH)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "scripts")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["17.5", "2", "4", "False"]
    np.testing.assert_array_equal(np.load(tmp_path / "fields.npy"), fields(cellpose_file))


def test_the_folder_is_for_the_user_alone(cellpose_file: Path, cache: Path) -> None:
    load_converted(cellpose_file)
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_is_made_anew_and_logged(
    cellpose_file: Path, cache: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = fields(cellpose_file)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(
        {"cut": whole[:middle], "changed": whole[:middle] + b"wrong" + whole[middle + 5 :], "empty": b""}[damage]
    )
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(fields(cellpose_file), expected)
    assert "is damaged" in caplog.text
    caplog.clear()
    fields(cellpose_file)
    assert not caplog.records


def test_a_cache_that_cannot_be_written_is_logged_and_done_without(
    cellpose_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = fields(cellpose_file)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            np.testing.assert_array_equal(fields(cellpose_file), expected)
    assert caplog.text.count("not kept between runs") == 1


def test_a_full_disk_is_logged_and_leaves_no_half_file(
    cellpose_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openvino, "save_model", full)
    with caplog.at_level(logging.WARNING):
        load_converted(cellpose_file)
    assert "No space left" in caplog.text
    assert not list(cache.iterdir())


def test_a_folder_that_others_can_write_to_is_not_trusted(
    cellpose_file: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        load_converted(cellpose_file)
    assert "others can write" in caplog.text
    assert not list(cache.iterdir())


def test_jobs_at_the_same_time_leave_one_whole_file(cellpose_file: Path, cache: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from cohortseg.networks.converted import load_converted\n"
        f"load_converted(Path({str(cellpose_file)!r}))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "scripts")}
    command = [sys.executable, "-c", code]
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(subprocess.run, command, env=environment, check=True) for _ in range(3)]
        for run in runs:
            run.result()
    assert [file.suffix for file in cache.iterdir()] == [".zip"]
    fields(cellpose_file)


def test_other_weights_and_another_assumed_diameter_are_other_networks(
    cellpose_file: Path, cache: Path, tmp_path: Path
) -> None:
    import torch

    weights = {key: value for key, value in torch.load(cellpose_file).items() if not key.startswith("diam")}
    torch.save(weights, tmp_path / "cyto_bare")
    shutil.copy(tmp_path / "cyto_bare", tmp_path / "nuclei_bare")
    for _ in range(2):
        assert load_converted(tmp_path / "cyto_bare")[1].diameter_px == 30
        assert load_converted(tmp_path / "nuclei_bare")[1].diameter_px == 17
    weights["output.2.bias"] += 1
    torch.save(weights, tmp_path / "cyto_bare")
    load_converted(tmp_path / "cyto_bare")
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_checkpoint_is_an_error_and_is_not_kept(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "broken").write_bytes(b"no weights")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_converted(tmp_path / "broken")
    assert not list(cache.iterdir())
