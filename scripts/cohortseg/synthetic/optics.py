"""What a microscope and its camera make of light: blur, haze, uneven illumination, bleaching, noise, counts."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cohortseg.synthetic.nuclei import Light


class Camera(NamedTuple):
    """One microscope setting: lengths in pixels, intensities in camera counts.

    `haze_share` of the light is spread over `haze_px`, as out-of-focus light is. `counts` is what light of 1 gives,
    `offset_counts` the camera's own level, `background_counts` the medium's. `counts_per_electron` sets the shot noise,
    `read_noise_counts` the camera's.
    """

    blur_px: float
    haze_px: float
    haze_share: float
    counts: float
    offset_counts: float
    background_counts: float
    counts_per_electron: float
    read_noise_counts: float


def photograph(light: Light, *, illumination: Light, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return the uint16 image of `light` (y, x) under `illumination` (y, x), with shot and read noise.

    The background is lit unevenly too; the camera's offset is not.
    """
    sharp = ndimage.gaussian_filter(light, camera.blur_px)
    haze = ndimage.gaussian_filter(light, camera.haze_px)
    seen = (1 - camera.haze_share) * sharp + camera.haze_share * haze
    signal = illumination * (camera.counts * seen + camera.background_counts)
    electrons = signal / camera.counts_per_electron
    noise_counts = np.hypot(np.sqrt(electrons) * camera.counts_per_electron, camera.read_noise_counts)
    counts = camera.offset_counts + signal + noise_counts * rng.standard_normal(light.shape, np.float32)
    image: NDArray[np.uint16] = np.clip(np.rint(counts), 0, np.iinfo(np.uint16).max).astype(np.uint16)
    return image


def uneven_light(shape: tuple[int, int], *, fall_off: float, rng: np.random.Generator) -> Light:
    """Return an illumination of 1 at a point near the middle that falls by `fall_off` towards the farthest corner."""
    bright = rng.uniform(0.35, 0.65, 2)
    y = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5) / shape[0] - bright[0]
    x = (np.arange(shape[1], dtype=np.float32)[None, :] + 0.5) / shape[1] - bright[1]
    square = y**2 + x**2
    illumination: Light = (1 - fall_off * square / square.max()).astype(np.float32)
    return illumination


def bleached_corner(shape: tuple[int, int], *, depth: float, reach: float) -> Light:
    """Return what bleaching left: 1 over the field, down to 1 - `depth` in the lower right corner.

    `reach` is the width of the bleached patch as a share of the image's sides.
    """
    y = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5) / shape[0] - 1
    x = (np.arange(shape[1], dtype=np.float32)[None, :] + 0.5) / shape[1] - 1
    left: Light = (1 - depth * np.exp(-((y**2 + x**2) / (2 * (reach / 2) ** 2)))).astype(np.float32)
    return left
