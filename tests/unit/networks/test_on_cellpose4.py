"""The networks of Cellpose 4: patches against a plain reference, checkpoints against the package's own class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cohortseg.errors import CheckpointError, DeviceError, SettingsError
from cohortseg.networks import Network, on_cellpose4
from cohortseg.networks.on_cellpose4 import Patches, load_cellpose4, patch_starts, taper
from cohortseg.settings import SegmentSettings

SIDE = 32


class Tiny(nn.Module):
    """A network whose output at a pixel depends on where in the patch it is, as a transformer's does."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 5, padding=2)
        self.place = nn.Parameter(torch.rand(1, 3, SIDE, SIDE))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert x.shape[1:] == (3, SIDE, SIDE)
        return self.mix(x) + self.place * x.mean(), x.new_zeros((len(x), 256))


@pytest.fixture
def tiny() -> Tiny:
    torch.manual_seed(0)
    return Tiny().eval()


def blended(network: Tiny, tile: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the weighted mean of the outputs of all patches, pixel by pixel, in double precision."""
    total, weights = np.zeros((3, *tile.shape[1:])), np.zeros(tile.shape[1:])
    falling = np.outer(taper(SIDE).astype(float), taper(SIDE).astype(float))
    for y0 in patch_starts(tile.shape[1], SIDE):
        for x0 in patch_starts(tile.shape[2], SIDE):
            place = np.s_[..., y0 : y0 + SIDE, x0 : x0 + SIDE]
            with torch.no_grad():
                output = network(torch.from_numpy(tile[place].copy())[None])[0][0].double().numpy()
            total[place] += output * falling
            weights[place] += falling
    return total / weights


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (48, 80), (33, 100)])
def test_a_tile_is_the_weighted_mean_of_its_patches(tiny: Tiny, shape: tuple[int, int]) -> None:
    tiles = np.random.default_rng(0).random((2, 3, *shape), np.float32)
    with torch.no_grad():
        fields, style = Patches(tiny, SIDE)(torch.from_numpy(tiles))
    assert (fields.dtype, style.shape) == (torch.float32, (2, 1))
    for found, tile in zip(fields.numpy(), tiles, strict=True):
        np.testing.assert_allclose(found, blended(tiny, tile), atol=1e-5)


def test_a_tile_smaller_than_a_patch_lies_in_the_middle_of_zeros(tiny: Tiny) -> None:
    tile = np.random.default_rng(0).random((3, 20, 40), np.float32)
    with torch.no_grad():
        fields = Patches(tiny, SIDE)(torch.from_numpy(tile)[None])[0][0].numpy()
    padded = np.pad(tile, ((0, 0), (6, 6), (0, 0)))
    np.testing.assert_allclose(fields, blended(tiny, padded)[:, 6:26], atol=1e-5)


@pytest.mark.parametrize("groups", [1, 3, 99])
def test_how_many_patches_run_at_once_changes_nothing(tiny: Tiny, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tile = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = Patches(tiny, SIDE)(tile)[0]
        monkeypatch.setitem(on_cellpose4._AT_ONCE, "cpu", groups)
        # The mean over a batch would tell patches that are run together apart from those that are not.
        monkeypatch.setattr(Tiny, "forward", lambda self, x: (self.mix(x) + self.place, x))
        together = Patches(tiny, SIDE)(tile)[0]
        monkeypatch.setitem(on_cellpose4._AT_ONCE, "cpu", 1)
        torch.testing.assert_close(together, Patches(tiny, SIDE)(tile)[0], atol=1e-6, rtol=0)
    assert expected.shape == together.shape


@pytest.mark.parametrize("length", [1, 255, 256, 257, 272, 300, 512, 1024])
def test_patches_lie_as_cellpose_lays_them(length: int) -> None:
    from cellpose import transforms

    starts = patch_starts(length, 256)
    if length >= 256:
        _, rows, _, _, _ = transforms.make_tiles(np.zeros((1, length, 256), np.float32), bsize=256)
        assert starts == [int(start) for start, _ in rows]
    else:
        assert starts == [0]


@pytest.mark.parametrize("side", [256, 384])
def test_weights_fall_off_as_in_cellpose(side: int) -> None:
    from cellpose import transforms

    np.testing.assert_allclose(np.outer(taper(side), taper(side)), transforms._taper_mask(side, side), atol=1e-6)


class TinySam(nn.Module):
    """A stand-in for the package's network with Segment Anything, which has 305 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.pos_embed = nn.Parameter(torch.zeros(1, 4, 4, 8))
        self.out = nn.Conv2d(3, 3, 1)
        self.W2 = nn.Parameter(torch.eye(3))
        self.diam_mean = nn.Parameter(torch.tensor([30.0]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.out(x), torch.zeros(len(x), 256)


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of Cellpose 4, as small as the stand-in."""
    monkeypatch.setattr(on_cellpose4, "_cellpose_vit", lambda: type("vit", (), {"CPSAM": TinySam}))
    torch.manual_seed(1)
    torch.save({f"module.{name}": value for name, value in TinySam().state_dict().items()}, tmp_path / "mine")
    return tmp_path / "mine"


def settings(checkpoint: Path, **changes: Any) -> SegmentSettings:
    return SegmentSettings.model_validate({"model": "mine", "model_path": str(checkpoint), "device": "cpu"} | changes)


def test_a_checkpoint_of_cellpose_4_is_run_by_torch_at_the_images_own_scale(checkpoint: Path) -> None:
    network = Network.of(settings(checkpoint, precision="fp32"))
    assert (network.backend, network.precision, network.scale_free) == ("torch", "fp32", True)
    assert (network.n_channels, network.n_inputs, network.stride_px, network.diameter_px) == (3, 3, 16, 30.0)
    tile = np.random.default_rng(0).random((3, 272, 304), np.float32)
    (fields,) = network.stream(iter([tile]), None)
    weights = torch.load(checkpoint, weights_only=True)
    kernel = weights["module.out.weight"][:, :, 0, 0].numpy()
    expected = np.tensordot(kernel, tile, 1) + weights["module.out.bias"].numpy()[:, None, None]
    np.testing.assert_allclose(fields, expected, atol=1e-5)


def test_openvino_and_bf16_where_there_is_none_are_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"network is a transformer of Cellpose 4.*Set backend: auto"):
        Network.of(settings(checkpoint, backend="openvino"))
    monkeypatch.setattr("cohortseg.networks.forward.cpu_has_bf16", lambda: False)
    with pytest.raises(DeviceError, match="bf16"):
        Network.of(settings(checkpoint, precision="bf16"))


def test_in_bf16_the_fields_are_close(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tile = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
    exact = Network.of(settings(checkpoint, precision="fp32")).forward(tile)[0]
    monkeypatch.setattr("cohortseg.networks.forward.cpu_has_bf16", lambda: True)
    network = Network.of(settings(checkpoint))
    assert network.precision == "bf16"
    np.testing.assert_allclose(network.forward(tile)[0], exact, atol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state | {"more": torch.ones(1)}, r"does not fit the sam_vitl network.*more"),
        (lambda state: {k: v for k, v in state.items() if "out" not in k}, r"does not fit.*out\.weight"),
        (lambda state: state | {"module.W2": torch.full((3, 3), torch.nan)}, "weights that are no numbers, in W2"),
        (lambda _: {"encoder.cls_token": torch.ones(1), "W2": torch.ones(1)}, "has no encoder that Cellpose 4 has"),
    ],
)
def test_checkpoints_that_do_not_fit_say_how(checkpoint: Path, change: Any, message: str) -> None:
    torch.save(change(torch.load(checkpoint, weights_only=True)), checkpoint)
    with pytest.raises(CheckpointError, match=message):
        load_cellpose4(checkpoint)


def test_dinov3_that_is_not_installed_is_named(checkpoint: Path) -> None:
    projection = {"encoder.patch_embed.proj.weight": torch.ones(768, 3, 16, 16)}
    torch.save({"encoder.cls_token": torch.ones(1), "W2": torch.ones(1)} | projection, checkpoint)
    with pytest.raises(CheckpointError, match=r"the package dinov3 was expected.*pip install git"):
        load_cellpose4(checkpoint)


def test_a_name_holds_its_file_to_its_family(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHORTSEG_MODELS_PATH", str(tmp_path))
    checkpoint.rename(tmp_path / "cpsam")
    assert Network.of(SegmentSettings(model="cpsam", device="cpu")).scale_free
    (tmp_path / "cpsam").rename(tmp_path / "cyto3")
    with pytest.raises(
        CheckpointError, match=r"cyto3 is a transformer of Cellpose 4; model 'cyto3' is a residual U-Net"
    ):
        Network.of(SegmentSettings(model="cyto3", device="cpu"))
