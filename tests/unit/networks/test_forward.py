"""A network on its device: numpy in, numpy out, and what fails says so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cohortseg.errors import CheckpointError, MissingFileError, SettingsError
from cohortseg.networks import Network, forward
from cohortseg.settings import SegmentSettings


def settings(path: Path, **changes: Any) -> SegmentSettings:
    return SegmentSettings(model="mine", model_path=str(path), device="cpu").model_copy(update=changes)


def test_a_batch_gives_fields_and_styles_each_as_if_alone(cellpose_file: Path) -> None:
    network = Network.of(settings(cellpose_file))
    assert (network.n_channels, network.stride_px, network.diameter_px, network.backend) == (2, 4, 17.5, "openvino")
    batch = np.random.default_rng(0).random((3, 2, 16, 24), np.float32)
    fields, styles = network.forward(batch)
    assert (fields.shape, fields.dtype) == ((3, 3, 16, 24), np.float32)
    assert (styles.shape, styles.dtype) == ((3, 16), np.float32)
    for i in range(3):
        alone = network.forward(batch[i : i + 1])
        np.testing.assert_allclose(alone[0][0], fields[i], atol=1e-5)
        np.testing.assert_allclose(alone[1][0], styles[i], atol=1e-5)


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_a_stream_gives_the_fields_of_the_batch_in_order(cellpose_file: Path, backend: str) -> None:
    network = Network.of(settings(cellpose_file, backend=backend))
    assert network.backend == backend
    batch = np.random.default_rng(0).random((5, 2, 16, 24), np.float32)
    np.testing.assert_array_equal(list(network.stream(iter(batch), None)), network.forward(batch)[0])


def test_openvino_on_what_turns_out_to_be_a_gpu_is_an_error(
    cellpose_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "is_gpu", lambda _: True)
    with pytest.raises(SettingsError, match=r"device 'auto' is a GPU here.*Set device: cpu"):
        Network.of(settings(cellpose_file, device="auto", backend="openvino"))


def test_a_size_model_goes_with_the_checkpoint_it_was_trained_with(
    tmp_path: Path, cellpose_file: Path, size_table: dict[str, Any]
) -> None:
    np.save(tmp_path / "size.npy", np.array(size_table, dtype=object))
    network = Network.of(settings(cellpose_file, size_model_path=str(tmp_path / "size.npy")))
    assert network.size_model is not None
    assert network.size_model.n_style == 16
    assert Network.of(settings(cellpose_file)).size_model is None


def test_a_size_model_for_another_style_is_refused(
    tmp_path: Path, cellpose_file: Path, size_table: dict[str, Any]
) -> None:
    long = size_table | {"A": np.zeros((1, 256)), "smean": np.zeros(256)}
    np.save(tmp_path / "size.npy", np.array(long, dtype=object))
    with pytest.raises(CheckpointError, match="needs a style of 256 values, but the network has a style of 16"):
        Network.of(settings(cellpose_file, size_model_path=str(tmp_path / "size.npy")))


def test_a_size_model_needs_a_network_with_style(tmp_path: Path, size_table: dict[str, Any]) -> None:
    np.save(tmp_path / "size.npy", np.array(size_table, dtype=object))
    with pytest.raises(CheckpointError, match="but the network has no style"):
        Network.of(SegmentSettings(device="cpu", size_model_path=str(tmp_path / "size.npy")))


def test_a_missing_size_model_is_named(cellpose_file: Path) -> None:
    with pytest.raises(MissingFileError, match=r"size_model_path nowhere\.npy is not a file"):
        Network.of(settings(cellpose_file, size_model_path="nowhere.npy"))


def test_our_networks_take_one_channel_and_those_of_cellpose_all_of_theirs(cellpose_file: Path) -> None:
    assert Network.of(SegmentSettings(device="cpu")).n_inputs == 1
    assert Network.of(SegmentSettings(device="cpu", model_path=str(cellpose_file))).n_inputs == 2
