"""A file of weights is named for what it is, whatever its name."""

import fractions
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cohortseg.errors import CheckpointError
from cohortseg.networks import load_checkpoint
from cohortseg.networks.kinds import Kind, kind_of
from cohortseg.networks.unet import ResidualUNet


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"x")
    return stream.getvalue()


CONTENTS = [
    (b"", Kind.EMPTY),
    (b"\x89HDF\r\n\x1a\n" + bytes(99), Kind.KERAS),
    (zipped("weights_best.h5"), Kind.KERAS_ZIP),
    (zipped("notes.txt"), Kind.ZIP),
    (b"PK\x03\x04 but no archive", Kind.BROKEN_ZIP),
    (b"\n<!DOCTYPE html><html>Sign in", Kind.WEB_PAGE),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", Kind.POINTER),
    (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", Kind.ONNX),
    (b"\x40\0\0\0\0\0\0\0" + b'{"a":{"dtype":"F32","shape":[1]}}', Kind.SAFETENSORS),
    (b"II*\0", Kind.IMAGE),
    (b"\x1f\x8b\x08", Kind.ARCHIVE),
    (b"\x80\x04K\x07.", Kind.PICKLE),
    (b"hello", Kind.UNKNOWN),
]


@pytest.mark.parametrize(("content", "kind"), CONTENTS, ids=[kind.name for _, kind in CONTENTS])
def test_files_are_told_apart_and_refused_by_name(tmp_path: Path, content: bytes, kind: Kind) -> None:
    (tmp_path / "weights").write_bytes(content)
    assert kind_of(tmp_path / "weights") is kind
    with pytest.raises(CheckpointError, match=f"weights cannot be read as a checkpoint: it is {kind}") as raised:
        load_checkpoint(tmp_path / "weights")
    # What torch says of such files is to read them again without weights_only, which would execute them.
    assert "weights_only" not in str(raised.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_are_known_by_their_parameters(tmp_path: Path, network: ResidualUNet, zipped: bool) -> None:
    transformer = {"W2": torch.ones(1), "encoder.pos_embed": torch.ones(1)}
    cases: list[tuple[Any, Kind]] = [
        (network.state_dict(), Kind.RESIDUAL_UNET),
        ({f"module.{key}": value for key, value in network.state_dict().items()}, Kind.RESIDUAL_UNET),
        (transformer, Kind.CELLPOSE4),
        ({"conv1.weight": torch.ones(1)}, Kind.OTHER_TORCH),
    ]
    for content, kind in cases:
        torch.save(content, tmp_path / "x", _use_new_zipfile_serialization=zipped)
        assert kind_of(tmp_path / "x") is kind


def test_size_models_scripts_and_plain_arrays(tmp_path: Path, size_table: dict[str, Any]) -> None:
    np.save(tmp_path / "size.npy", np.array(size_table, dtype=object))
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name in ("script/data.pkl", "script/code/__torch__.py"):
            archive.writestr(name, b"x")
    assert kind_of(tmp_path / "size.npy") is Kind.SIZE_MODEL
    assert kind_of(tmp_path / "plain.npy") is Kind.NUMPY
    assert kind_of(tmp_path / "script.pt") is Kind.TORCHSCRIPT
    with pytest.raises(CheckpointError, match="it is a size model of Cellpose 1 to 3"):
        load_checkpoint(tmp_path / "size.npy")


def test_a_checkpoint_with_code_in_it_is_not_called_a_network(tmp_path: Path, network: ResidualUNet) -> None:
    for zipped in (True, False):
        torch.save(
            network.state_dict() | {"more": fractions.Fraction(1, 2)},
            tmp_path / "x",
            _use_new_zipfile_serialization=zipped,
        )
        with pytest.raises(CheckpointError, match=r"it asks for the code fractions\.Fraction, and nothing") as raised:
            load_checkpoint(tmp_path / "x")
        assert "weights_only" not in str(raised.value)


def test_a_network_of_an_old_torch_that_is_cut_short_says_so(tmp_path: Path, network: ResidualUNet) -> None:
    torch.save(network.state_dict(), tmp_path / "x", _use_new_zipfile_serialization=False)
    content = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"begins as a residual U-Net of Cellpose 1 to 3 .* is damaged"):
        load_checkpoint(tmp_path / "x")
