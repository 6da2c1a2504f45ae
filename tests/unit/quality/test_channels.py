"""Sharpness, shifts and tiles, on made images with known faults."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from cohortseg.arrays import Labels
from cohortseg.quality import ChannelQuality, Segmented, TileCover
from cohortseg.synthetic import crowded_field, two_channel_field
from cohortseg.tiling import blocks

Pixels = NDArray[np.uint16]


def described(pixels: Pixels, labels: Labels, segmented: int = 0, block_px: int = 1024) -> list[dict[str, Any]]:
    boxes = list(blocks(labels.shape, block_px))
    names = [str(i) for i in range(len(pixels))]
    quality = ChannelQuality(Segmented(names, (segmented,)), pixels.dtype, len(boxes))
    for box in boxes:
        held = box.grown(quality.rim_px, labels.shape)
        quality.add(pixels[:, *held.slices], labels[held.slices], held, box)
    return quality.result()


def sharpness(pixels: Pixels, labels: Labels) -> float:
    found: float = described(pixels[None], labels)[0]["sharpness"]
    return found


@pytest.fixture(scope="module")
def field() -> tuple[Pixels, Labels]:
    return crowded_field((384, 384), n_cells=130, diameter_px=20.0, seed=1)


def blurred(pixels: Pixels, sigma_px: float) -> Pixels:
    return np.rint(ndimage.gaussian_filter(pixels.astype(float), sigma_px)).astype(np.uint16)


def test_sharpness_falls_with_blur(field: tuple[Pixels, Labels]) -> None:
    pixels, labels = field
    found = [sharpness(blurred(pixels, sigma_px), labels) for sigma_px in (0.01, 1, 2, 3)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[2]


def test_sharpness_tells_neither_brightness_nor_background_nor_noise_nor_the_number_of_cells(
    field: tuple[Pixels, Labels],
) -> None:
    pixels, labels = field
    usual = sharpness(pixels, labels)
    assert sharpness(pixels * 3, labels) == pytest.approx(usual, rel=1e-3)
    assert sharpness(pixels + 5000, labels) == pytest.approx(usual, rel=1e-3)
    noise = np.random.default_rng(0).normal(0, 150, pixels.shape)
    noisy = np.clip(pixels + noise, 0, 65535).astype(np.uint16)
    assert sharpness(noisy, labels) == pytest.approx(usual, rel=0.1)
    few, few_labels = crowded_field((384, 384), n_cells=13, diameter_px=20.0, seed=2)
    assert sharpness(few, few_labels) == pytest.approx(usual, rel=0.2)


def test_sharpness_of_noise_or_without_cells_is_not_known(field: tuple[Pixels, Labels]) -> None:
    pixels, labels = field
    noise = np.random.default_rng(0).poisson(100, pixels.shape).astype(np.uint16)
    assert sharpness(noise, labels) is None
    assert sharpness(pixels, np.zeros_like(labels)) is None


@pytest.mark.parametrize("block_px", [1024, 300])
@pytest.mark.parametrize("shift", [(0, 0), (5, -4), (-20, 11)])
def test_a_shift_is_found_where_one_channel_is_dark_in_the_other(shift: tuple[int, int], block_px: int) -> None:
    pixels, labels = two_channel_field(0)
    moved = np.stack([np.roll(pixels[0], shift, (0, 1)), pixels[1]])
    membrane, nucleus = described(moved, labels, segmented=1, block_px=block_px)
    assert membrane["shift_px"] == pytest.approx(shift, abs=0.4)
    assert 0.1 < membrane["shift_confidence"] <= 1
    assert (nucleus["shift_px"], nucleus["shift_confidence"]) == (None, None)


@pytest.mark.parametrize("seed", [1, 3, 5])
@pytest.mark.parametrize("shift", [(0, 0), (4, -3), (-12, 16)])
def test_a_shift_is_found_where_one_channel_is_of_nuclei_and_the_other_of_membranes_around_them(
    seed: int, shift: tuple[int, int]
) -> None:
    nuclei, labels = crowded_field((384, 384), n_cells=100, diameter_px=18.0, seed=seed)
    away = ndimage.distance_transform_edt(labels == 0)
    rng = np.random.default_rng(seed)
    membranes = rng.poisson(1500 * np.exp(-((away - 4) ** 2) / 2) + 100).astype(np.uint16)
    found = described(np.stack([nuclei, np.roll(membranes, shift, (0, 1))]), labels)[1]
    assert found["shift_px"] == pytest.approx(shift, abs=0.7)


def test_channels_without_common_structure_have_no_shift(field: tuple[Pixels, Labels]) -> None:
    pixels, labels = field
    noise = np.random.default_rng(0).poisson(100, pixels.shape).astype(np.uint16)
    others = [crowded_field((384, 384), n_cells=130, diameter_px=20.0, seed=seed)[0] for seed in (7, 8)]
    found = described(np.stack([pixels, noise, np.full_like(pixels, 9), *others]), labels)
    assert [channel["shift_px"] for channel in found] == [None] * 5


def covered(pixels: Pixels, labels: Labels, block_px: int) -> dict[str, int]:
    low, high = np.percentile(pixels, [1, 99])
    tiles = TileCover(labels.shape, 20.0, [high - low])
    for box in blocks(labels.shape, block_px):
        held = box.grown(8, labels.shape)
        tiles.add([pixels[held.slices].astype(np.float32)], labels[held.slices], held, box)
    return tiles.result()


@pytest.mark.parametrize("block_px", [1024, 100])
def test_a_tile_with_signal_among_others_with_cells_is_suspicious_and_an_empty_one_is_not(
    field: tuple[Pixels, Labels], block_px: int
) -> None:
    pixels, labels = field
    assert covered(pixels, labels, block_px) == {"side_px": 128, "n": 9, "empty": 0, "suspicious": 0}
    unsegmented = labels.copy()
    unsegmented[128:256, 128:256] = 0
    assert covered(pixels, unsegmented, block_px) == {"side_px": 128, "n": 9, "empty": 1, "suspicious": 1}
    bare = pixels.copy()
    ground = np.random.default_rng(0).poisson(150, (132, 132))
    bare[126:258, 126:258] = ground
    assert covered(bare, unsegmented, block_px) == {"side_px": 128, "n": 9, "empty": 1, "suspicious": 0}


def test_an_image_without_cells_has_empty_tiles_only(field: tuple[Pixels, Labels]) -> None:
    pixels, labels = field
    assert covered(pixels, np.zeros_like(labels), 1024) == {"side_px": 128, "n": 9, "empty": 9, "suspicious": 0}
