"""Checkpoints of ours and of Cellpose load as they are; anything else is refused and nothing in it runs."""

import collections
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cohortseg.errors import CheckpointError
from cohortseg.networks import load_checkpoint, save_checkpoint
from cohortseg.networks.unet import ResidualUNet


def outputs(network: ResidualUNet) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        fields: tuple[Tensor, Tensor] = network(torch.linspace(0, 1, 2 * 32 * 32).reshape(1, 2, 32, 32))
    return fields


def test_a_cellpose_checkpoint_gives_the_same_outputs(cellpose_file: Path, network: ResidualUNet) -> None:
    loaded = load_checkpoint(cellpose_file)
    assert (loaded.network.widths, loaded.network.styled, loaded.diameter_px) == ((2, 4, 8, 16), True, 17.5)
    assert loaded.sha256 == hashlib.sha256(cellpose_file.read_bytes()).hexdigest()
    assert not loaded.network.training
    for got, expected in zip(outputs(loaded.network), outputs(network), strict=True):
        assert torch.equal(got, expected)


def test_the_prefix_of_a_parallel_training_is_dropped(tmp_path: Path, network: ResidualUNet) -> None:
    torch.save({f"module.{key}": value for key, value in network.state_dict().items()}, tmp_path / "x")
    assert torch.equal(outputs(load_checkpoint(tmp_path / "x").network)[0], outputs(network)[0])


@pytest.mark.parametrize(("name", "diameter_px"), [("nucleitorch_0", 17.0), ("cytotorch_0", 30.0)])
def test_old_checkpoints_without_diameters_get_those_of_their_cellpose(
    tmp_path: Path, network: ResidualUNet, name: str, diameter_px: float
) -> None:
    old = {
        key: value
        for key, value in network.state_dict().items()
        if not key.startswith("diam_") and not key.endswith("num_batches_tracked")
    }
    torch.save(old, tmp_path / name)
    assert load_checkpoint(tmp_path / name).diameter_px == diameter_px


# How Cellpose wrote its networks from 0.6 (2020) to 3.1 (2025): for one GPU or several, with torch before and after
# its zip files, before and after the diameters, and with the type that mixed precision leaves.
HISTORICAL: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "plain": lambda state: state,
    "parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "without diameters": lambda state: {key: value for key, value in state.items() if not key.startswith("diam_")},
    "without counts of batches": lambda state: {k: v for k, v in state.items() if not k.endswith("batches_tracked")},
    "half": lambda state: {key: value.half() if value.is_floating_point() else value for key, value in state.items()},
    "ordered": collections.OrderedDict,
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("form", HISTORICAL)
def test_all_forms_in_which_cellpose_has_written_networks_load(
    tmp_path: Path, network: ResidualUNet, form: str, zipped: bool
) -> None:
    path = tmp_path / "CP_2020"
    torch.save(HISTORICAL[form](network.state_dict()), path, _use_new_zipfile_serialization=zipped)
    loaded = load_checkpoint(path)
    assert loaded.diameter_px == (30.0 if form == "without diameters" else 17.5)
    atol = 1e-2 if form == "half" else 0
    for got, expected in zip(outputs(loaded.network), outputs(network), strict=True):
        torch.testing.assert_close(got, expected, atol=atol, rtol=atol)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_networks_of_other_numbers_of_channels_load(tmp_path: Path, n_channels: int) -> None:
    network = ResidualUNet((n_channels, 4, 8, 16), styled=True)
    torch.save(network.state_dict(), tmp_path / "x")
    loaded = load_checkpoint(tmp_path / "x")
    assert (loaded.facts.n_channels, loaded.n_inputs) == (n_channels, n_channels)


def test_our_own_checkpoint_is_half_the_size_and_keeps_weights_to_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ResidualUNet((2, 16, 32, 64, 128), styled=False).eval()
    network.diam_mean.data.fill_(20.0)
    path = tmp_path / "model.pt"
    save_checkpoint(path, network)
    loaded = load_checkpoint(path)
    assert path.stat().st_size < 5e6
    assert (loaded.diameter_px, loaded.network.styled, loaded.n_parameters) == (20.0, False, 1_654_347)
    torch.testing.assert_close(outputs(loaded.network)[0], outputs(network)[0], atol=5e-3, rtol=0)


def test_the_network_that_comes_with_the_package_loads_and_is_small() -> None:
    from cohortseg.networks import find_checkpoint
    from cohortseg.settings import SegmentSettings

    path = find_checkpoint(SegmentSettings())
    assert load_checkpoint(path).network.widths[0] == 2
    assert path.stat().st_size < 5e6


class Exploit:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_carries_code_runs_none_of_it(tmp_path: Path) -> None:
    with (tmp_path / "plain").open("wb") as file:
        pickle.dump(Exploit(tmp_path / "made"), file)
    torch.save({"weights": Exploit(tmp_path / "made")}, tmp_path / "zipped")
    for name in ("plain", "zipped"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be read as a checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am text\n" * 100, b"PK\x03\x04 but no archive", b"\x80\x02", b"\0" * 999]
)
def test_files_that_are_no_checkpoints_say_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "junk.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"junk\.pt cannot be read as a checkpoint"):
        load_checkpoint(tmp_path / "junk.pt")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_says_so(cellpose_file: Path, share: float) -> None:
    content = cellpose_file.read_bytes()
    cellpose_file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        load_checkpoint(cellpose_file)


def nan_bias(state: dict[str, Any]) -> dict[str, Any]:
    return state | {"output.2.bias": torch.tensor([0.0, float("nan"), 0.0])}


CHANGES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda _: [1, 2, 3], "holds list, not a table of weights"),
    (lambda _: {}, "holds dict, not a table of weights"),
    (lambda _: {"format": "cohortseg residual U-Net 1"}, "holds NoneType, not a table of weights"),
    (lambda state: state | {"epoch": 7}, "holds dict, not a table of weights"),
    (lambda _: {"encoder.patch_embed.proj.weight": torch.ones(2, 2)}, "is another network or table of torch"),
    (lambda _: {"conv1.weight": torch.ones(2, 2)}, "is another network"),
    (lambda state: {key: value for key, value in state.items() if "res_up_1" not in key}, "parameters are missing"),
    (lambda state: state | {"output.3.weight": torch.ones(3)}, "1 unknown"),
    (lambda state: state | {"output.2.weight": torch.ones(4, 4, 1, 1)}, "parameters of other shapes"),
    (lambda state: state | {"diam_mean": torch.zeros(1)}, "diameter of 0.0 px"),
    (nan_bias, r"weights that are no numbers, in output\.2\.bias"),
    (lambda state: state | {"output.2.bias": torch.ones(1).expand(10**6, 10**6)}, "more than 1,000,000,000 parameters"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[message for _, message in CHANGES])
def test_other_contents_are_refused_with_their_difference(
    tmp_path: Path, network: ResidualUNet, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    torch.save(change(dict(network.state_dict())), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "other.pt")
