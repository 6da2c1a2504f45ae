"""How the pixels of an image look, told from a few of its blocks: brightness, colour, texture."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.stores.source import ImageSource

ROUGH_EITHER = 0.65
"""`rough_light` where light and dark are alike rough; what is said of images too small to tell."""

# What is looked at: at most this many blocks of this side, spread evenly, every second row and column of each. The
# whole of a small image, about a million pixels of a large one: time and memory do not grow with the image.
_MAX_BLOCKS = 64
_BLOCK_PX = 256
_STEP_PX = 2
_PATCH_PX = 8
# What a camera calls white: the smallest of these that nearly all pixels do not exceed.
_WHITES = (255.0, 4095.0, 16383.0, 65535.0)
# Pixels of more than 8 bits that span less than this share of their brightness, or fewer grey values, tell by the
# shape of their histogram alone.
_NARROW = 0.1
_WELL_USED = 100.0
_FEWEST_PATCHES = 16
_FAR_FROM_BLACK = 0.2


def look(source: ImageSource, channels: Sequence[int]) -> dict[str, float]:
    """Return what the pixels of some channels look like, each feature a plain number; see `_measure` and below.

    Raises
    ------
    ImageError
        If the pixels looked at are damaged.
    """
    samples = [_sample(source.read(channels, box)) for box in _spread(source.shape)]
    # Blocks of one value are what lies beyond a scan, or nothing at all.
    told = [sample for sample in samples if (sample.pixels != sample.pixels[:, :1]).any()] or samples
    pixels = np.concatenate([sample.pixels for sample in told], axis=1)
    patches = np.concatenate([sample.patches for sample in told], axis=1)
    if _is_padded(pixels):
        pixels, patches = pixels[:, pixels.any(axis=0)], patches[:, patches[0] > 0]
    features = _measure(np.divide(pixels, _white(pixels, source.dtype), dtype=np.float32))
    return features | _measure_texture(patches, pixels)


def _spread(shape: tuple[int, int]) -> Iterator[Box]:
    """Yield at most `_MAX_BLOCKS` boxes that cover a small image, or lie evenly over a large one."""
    height, width = shape
    most_y, most_x = math.ceil(height / _BLOCK_PX), math.ceil(width / _BLOCK_PX)
    n_y = max(1, min(most_y, round(math.sqrt(_MAX_BLOCKS * height / width)), _MAX_BLOCKS))
    n_x = min(most_x, _MAX_BLOCKS // n_y)
    n_y = min(most_y, _MAX_BLOCKS // n_x)
    for y in _starts(height, n_y):
        for x in _starts(width, n_x):
            yield Box(y, x, min(y + _BLOCK_PX, height), min(x + _BLOCK_PX, width))


def _starts(length: int, n: int) -> list[int]:
    last = max(0, length - _BLOCK_PX)
    return [round(i * last / max(1, n - 1)) for i in range(n)] if n > 1 else [last // 2]


@dataclass(frozen=True)
class _Sample:
    """What is kept of a block.

    Attributes
    ----------
    pixels
        (channel, pixel) float32 of every second row and column, without pixels that are not finite.
    patches
        (2, patch) float32, brightness and roughness of each `_PATCH_PX` square, as means over its pixels; roughness is
        the second difference along x, without its sign.
    """

    pixels: NDArray[np.float32]
    patches: NDArray[np.float32]


def _sample(block: NDArray[Any]) -> _Sample:
    sparse = block[:, ::_STEP_PX, ::_STEP_PX].reshape(len(block), -1).astype(np.float32)
    # Two columns wider than the squares, for the differences.
    n_y, n_x = block.shape[1] // _PATCH_PX, (block.shape[2] - 2) // _PATCH_PX
    pixels = sparse[:, np.isfinite(sparse).all(axis=0)]
    if n_y < 1 or n_x < 1:
        return _Sample(pixels, np.empty((2, 0), np.float32))
    value = block.max(axis=0)[: n_y * _PATCH_PX, : n_x * _PATCH_PX + 2].astype(np.float32)
    value[~np.isfinite(value)] = 0
    rough = np.abs(2 * value[:, 1:-1] - value[:, :-2] - value[:, 2:])
    squares = np.stack([value[:, 1:-1], rough]).reshape(2, n_y, _PATCH_PX, n_x, _PATCH_PX)
    return _Sample(pixels, squares.mean(axis=(2, 4)).reshape(2, -1))


def _is_padded(pixels: NDArray[np.float32]) -> bool:
    """Return whether zeros are no data: all else is far from black, while dark ground fades into its zeros."""
    value = pixels.max(axis=0, initial=0)
    others = value[value > 0]
    if not others.size or others.size == value.size:
        return False
    darkest, brightest = np.percentile(others, (1, 99))
    return bool(darkest > _FAR_FROM_BLACK * brightest)


def _white(pixels: NDArray[np.float32], dtype: np.dtype[Any]) -> float:
    """Return the intensity that stands for white, positive; shifts `pixels` where their zero is not black."""
    if not pixels.size:
        return 1.0
    if dtype == np.uint8:
        return 255.0
    low, high = (float(bound) for bound in np.percentile(pixels, (0.1, 99.9)))
    if low < 0 or high - low < _NARROW * high or (dtype.kind in "iu" and high - low < _WELL_USED):
        # Standardised, on a pedestal, or a few of many grey values: what black and white were is lost.
        pixels -= np.float32(low)
        return max(high - low, float(np.finfo(np.float32).tiny))
    if dtype.kind in "bf" and high <= 2:  # sharpened or resampled, what was 0 to 1 is a little beyond
        return max(1.0, high)
    return next((white for white in _WHITES if high <= white), high)


def _measure(pixels: NDArray[np.float32]) -> dict[str, float]:
    """Return features of (channel, pixel) intensities in which white is 1, each a plain number.

    - `level`: median brightness, the brightness of a pixel being that of its brightest channel;
    - `middle`: where the median lies between the darkest and the brightest pixels, 0 to 1;
    - `spread`: from the darkest to the brightest, the extreme half per cent apart;
    - `skew`: of the brightness, third moment, within -2 and 2;
    - `dark_share`: share of pixels that are nearly black beside the brightest;
    - `colour`: (brightest - darkest channel) that one pixel in twenty exceeds;
    - `stain`: share of colour in the optical density relative to the ground, root mean square; a mere tint has none;
    - `colour_of_light`: correlation of colour and brightness: negative for stains, positive for coloured light.
    """
    if not pixels.size:
        return dict.fromkeys(
            ("level", "middle", "spread", "skew", "dark_share", "colour", "stain", "colour_of_light"), 0.0
        )
    value = pixels.max(axis=0)
    darkest, level, brightest = np.percentile(value, (0.5, 50, 99.5)).astype(float)
    spread = float(brightest - darkest)
    features = {
        "level": float(level),
        "middle": float((level - darkest) / spread) if spread > 0 else 0.5,
        "spread": spread,
        "skew": float(np.clip(_skewness(value), -2, 2)),
        "dark_share": float((value < 0.15 * brightest).mean()),
    }
    return features | _measure_colour(pixels, value)


def _measure_colour(pixels: NDArray[np.float32], value: NDArray[np.float32]) -> dict[str, float]:
    chroma = value - pixels.min(axis=0)
    if not chroma.any():
        return {"colour": 0.0, "stain": 0.0, "colour_of_light": 0.0}
    density = -np.log(np.maximum(pixels, np.float32(1 / 255)))
    density -= np.median(density, axis=1, keepdims=True)
    coloured = density - density.mean(axis=0)
    # Camera noise is coloured, too: what is fainter than about three per cent counts little.
    stain = math.sqrt(float((coloured**2).mean()) / (float((density**2).mean()) + 1e-3))
    light = pixels.mean(axis=0)
    together = float(((chroma - chroma.mean()) * (light - light.mean())).mean())
    return {
        "colour": float(np.percentile(chroma, 95)),
        "stain": stain,
        "colour_of_light": together / (float(chroma.std()) * float(light.std()) + 1e-6),
    }


def _measure_texture(patches: NDArray[np.float32], pixels: NDArray[np.float32]) -> dict[str, float]:
    """Return how the texture goes with the light, each a plain number.

    - `rough_light`: correlation of roughness and brightness over small squares: what shines is rough where it is light,
      by its texture and the noise of its photons; what absorbs is rough where it is dark; relief is rough on both;
    - `structure`: share of the variance that is left between small squares, near 0 for mere noise.
    """
    if patches.shape[1] < _FEWEST_PATCHES or not pixels.size:
        return {"rough_light": ROUGH_EITHER, "structure": 1.0}
    centred = (patches - patches.mean(axis=1, keepdims=True)).astype(np.float64)
    deviations = centred.std(axis=1)
    variance = float(pixels.max(axis=0).var(dtype=np.float64))
    return {
        "rough_light": float((centred[0] * centred[1]).mean() / max(deviations[0] * deviations[1], 1e-12)),
        "structure": min(1.0, float(deviations[0] ** 2) / variance) if variance > 0 else 0.0,
    }


def _skewness(values: NDArray[np.float32]) -> float:
    """Return the standardised third moment; 0 of constant values."""
    centred = values - values.mean(dtype=np.float64)
    deviation = math.sqrt(float((centred**2).mean()))
    return float(((centred / deviation) ** 3).mean()) if deviation > 1e-6 else 0.0
