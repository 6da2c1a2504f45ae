"""What the network sees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import ChannelError
from cohortseg.segment import inputs
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import MEAN_OF_RGB, ChannelMix, choose_channels, measure_normalisation, read_input
from cohortseg.settings import NormaliseSettings
from cohortseg.stores.channels import ChannelGroup
from cohortseg.stores.source import ArraySource, ImageFacts


def source(pixels: NDArray[Any], *, is_rgb: bool = False) -> ArraySource:
    names = ("R", "G", "B") if is_rgb else tuple("abcd"[: len(pixels)])
    shape = (pixels.shape[1], pixels.shape[2])
    return ArraySource(pixels, ImageFacts(Path("made"), shape, pixels.dtype, names, is_rgb, None, 1, "array"))


def mix_of(**groups: tuple[int, ...]) -> ChannelMix:
    return ChannelMix(tuple(ChannelGroup(channels, "sum", name) for name, channels in groups.items()))


def noise(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def test_the_first_channel_is_taken_or_the_mean_of_red_green_and_blue() -> None:
    assert choose_channels(source(noise((2, 3, 3))), None, 2) == mix_of(a=(0,))
    mix = choose_channels(source(noise((3, 3, 3), "uint8"), is_rgb=True), None, 2)
    assert mix == ChannelMix((MEAN_OF_RGB,))


def test_channels_are_named_in_the_networks_order() -> None:
    assert choose_channels(source(noise((3, 3, 3))), ("c", 0), 2) == mix_of(c=(2,), a=(0,))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_several_markers_make_one_input(dtype: str) -> None:
    pixels = noise((4, 5, 6), dtype)
    image = source(pixels)
    mix = choose_channels(image, ("d", "a+c", "b|d"), 3)
    assert mix.names == ("d", "a+c", "b|d")
    assert mix.channels == (3, 0, 2, 1, 3)
    nucleus, total, most = mix.inputs(image.read(mix.channels, Box(0, 0, 5, 6)))
    np.testing.assert_array_equal(nucleus, pixels[3])
    np.testing.assert_array_equal(total, pixels[0].astype(np.float64) + pixels[2])
    np.testing.assert_array_equal(most, np.maximum(pixels[1], pixels[3]))


def test_more_channels_than_the_network_takes_are_refused() -> None:
    with pytest.raises(
        ChannelError, match=r"3 channels \(a, b, c\) are asked for in made; the network takes at most 2"
    ):
        choose_channels(source(noise((3, 3, 3))), ("a", "b", "c"), 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("is_rgb", [False, True])
def test_percentiles_are_those_of_the_whole_image_whatever_the_blocks(
    dtype: str, is_rgb: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_BLOCK_PX", 7)
    pixels = noise((3, 20, 31), dtype)
    image = source(pixels, is_rgb=is_rgb)
    mix = choose_channels(image, None if is_rgb else ("a", "c"), 2)
    settings = NormaliseSettings(lower_percentile=2.5, upper_percentile=90.0)
    found = measure_normalisation(image, mix, settings)
    planes = [pixels.sum(axis=0)] if is_rgb else [pixels[0], pixels[2]]
    assert found.lower == pytest.approx([np.percentile(plane, 2.5) for plane in planes])
    assert found.upper == pytest.approx([np.percentile(plane, 90.0) for plane in planes])


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.3])
@given(st.data())
def test_a_tile_is_the_same_pixels_as_the_whole(scale: float, data: st.DataObject) -> None:
    image = source(noise((2, 41, 33)))
    mix = choose_channels(image, ("a", "b"), 2)
    normalisation = measure_normalisation(image, mix, NormaliseSettings())
    geometry = Geometry(image.shape, scale)
    height, width = geometry.network_shape
    canvas = Box(-4, -2, height + 5, width + 3)
    whole = read_input(image, mix, normalisation, geometry, box=canvas, n_inputs=3)
    assert whole is not None
    y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(
        data.draw(st.integers(canvas.y0, y0)),
        data.draw(st.integers(canvas.x0, x0)),
        data.draw(st.integers(y0 + 1, canvas.y1)),
        data.draw(st.integers(x0 + 1, canvas.x1)),
    )
    tile = read_input(image, mix, normalisation, geometry, box=box, n_inputs=3)
    if tile is not None:
        np.testing.assert_array_equal(tile, whole[:, *box.shifted(4, 2).slices])


def test_the_percentiles_become_zero_and_one_and_unused_inputs_are_zero() -> None:
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0] = [10, 20, 30, 50]
    normalisation = inputs.Normalisation((10.0,), (30.0,))
    tile = read_input(
        source(pixels),
        mix_of(a=(0,)),
        normalisation,
        Geometry((2, 4), 1.0),
        box=Box(0, -1, 1, 6),
        n_inputs=2,
    )
    assert tile is not None
    assert tile[0, 0] == pytest.approx([0, 0, 0.5, 1, 2, 0, 0])
    assert not tile[1].any()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_constant_tile_is_none_and_a_channel_without_contrast_is_zero(dtype: str) -> None:
    pixels = np.full((2, 8, 8), 7, dtype)
    pixels[1, :, 4:] = 9
    image, mix = source(pixels), mix_of(a=(0,), b=(1,))
    normalisation = measure_normalisation(image, mix, NormaliseSettings())
    geometry = Geometry((8, 8), 1.0)
    assert read_input(image, mix, normalisation, geometry, box=Box(0, 0, 8, 4), n_inputs=2) is None
    tile = read_input(image, mix, normalisation, geometry, box=Box(0, 0, 8, 8), n_inputs=2)
    assert tile is not None
    assert not tile[0].any()
    assert tile[1].max() == pytest.approx(1)


def test_missing_values_become_zero_and_do_not_move_the_percentiles() -> None:
    pixels = noise((1, 16, 16), "float32")
    clean = measure_normalisation(source(pixels), mix_of(a=(0,)), NormaliseSettings())
    holed = np.concatenate([pixels, np.full_like(pixels, np.nan)], axis=1)
    image, mix = source(holed), mix_of(a=(0,))
    assert measure_normalisation(image, mix, NormaliseSettings()) == clean
    tile = read_input(image, mix, clean, Geometry(image.shape, 1.0), box=Box(0, 0, 32, 16), n_inputs=1)
    assert tile is not None
    assert np.isfinite(tile).all()
    assert not tile[:, 16:].any()


def test_all_of_a_colour_image_is_its_mean_for_a_network_of_fewer_channels() -> None:
    image = source(noise((3, 3, 3), "uint8"), is_rgb=True)
    assert choose_channels(image, ("R", "G", "B"), 1) == choose_channels(image, None, 1)
    assert choose_channels(image, ("R", "G", "B"), 3) == mix_of(R=(0,), G=(1,), B=(2,))
