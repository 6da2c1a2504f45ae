"""Fluorescence scenes: a field of nuclei, a z stack of ellipsoids, membrane and nucleus, an empty field."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cohortseg.arrays import Labels
from cohortseg.errors import SettingsError
from cohortseg.synthetic.noise import smooth_noise
from cohortseg.synthetic.nuclei import Light, Look, Nuclei, chromatin_grain, draw_nuclei, random_nuclei, renumbered
from cohortseg.synthetic.optics import Camera, bleached_corner, photograph, uneven_light
from cohortseg.synthetic.placing import crowded_only, hexagonal_sites, place_exactly

_STACK_SHAPE = (5, 384, 384)
_FIELD_SHAPE = (512, 512)
_EMPTY_SHAPE = (256, 256)

_CAMERA = Camera(
    blur_px=1.1,
    haze_px=9.0,
    haze_share=0.10,
    counts=2200.0,
    offset_counts=100.0,
    background_counts=60.0,
    counts_per_electron=4.0,
    read_noise_counts=8.0,
)
_CULTURE = Look(diameter_px=22.0, diameter_spread=0.13, elongation=1.3, waviness=0.035, brightness_spread=0.28)
_TISSUE = Look(diameter_px=24.0, diameter_spread=0.12, elongation=1.22, waviness=0.03, brightness_spread=0.25)


def crowded_field(
    shape: tuple[int, int], n_cells: int, diameter_px: float, seed: int
) -> tuple[NDArray[np.uint16], Labels]:
    """Return a field of nuclei of any size, with exactly `n_cells` of them, touching and overlapping where crowded.

    Parameters
    ----------
    shape
        (y, x) in pixels.
    n_cells
        Nuclei, each with its centre in the field; labels run from 1 to `n_cells`.
    diameter_px
        Mean diameter, 6 to 60 px.
    seed
        Same seed, same arrays.

    Returns
    -------
    (image, truth)
        Image (y, x) uint16 and labels (y, x) uint32, 0 is background.

    Raises
    ------
    SettingsError
        When the diameter is out of range or so many nuclei do not fit.
    """
    if not 6 <= diameter_px <= 60:
        raise SettingsError(
            f"diameter_px is {diameter_px:g}", "made nuclei are 6 to 60 px wide", "Choose a diameter in this range."
        )
    rng = np.random.default_rng(seed)
    sites = place_exactly(shape, n=n_cells, diameter_px=diameter_px, rng=rng)
    nuclei = random_nuclei(sites, _CULTURE._replace(diameter_px=diameter_px), rng)
    light, truth = draw_nuclei(nuclei, shape, _dapi_grain(rng))
    illumination = uneven_light(shape, fall_off=0.4, rng=rng)
    return photograph(light, illumination=illumination, camera=_CAMERA, rng=rng), truth


def empty_field(seed: int) -> tuple[NDArray[np.uint16], Labels]:
    """Return a field (256, 256) uint16 of medium without a single cell, and its truth, all 0."""
    rng = np.random.default_rng(seed)
    light = np.zeros(_EMPTY_SHAPE, np.float32)
    illumination = uneven_light(_EMPTY_SHAPE, fall_off=0.4, rng=rng)
    image = photograph(light, illumination=illumination, camera=_CAMERA, rng=rng)
    return image, np.zeros(_EMPTY_SHAPE, np.uint32)


def nuclei_stack(seed: int) -> tuple[NDArray[np.uint16], Labels]:
    """Return a stack of five planes through ellipsoidal nuclei, most of which persist over several planes.

    Each plane shows its own sections in focus and those of the planes around it as haze, as a widefield microscope
    does. The cap of an ellipsoid (a section of less than 0.45 of its full width) gives light but is not in the truth.

    Returns
    -------
    (image, truth)
        Image (5, 384, 384) uint16 and labels (5, 384, 384) uint32: one label is one nucleus in all planes, numbered
        from 1 without gaps; 0 is background.
    """
    rng = np.random.default_rng(seed)
    n_planes, shape = _STACK_SHAPE[0], _STACK_SHAPE[1:]
    sites = hexagonal_sites(shape, pitch_px=27.0, rng=rng)
    sites = crowded_only(sites, share=0.62, scale_px=150.0, rng=rng)
    nuclei = random_nuclei(sites, _TISSUE, rng)
    depth = _Depth(
        centre=rng.uniform(-0.5, n_planes - 0.5, len(nuclei)),
        radius=rng.uniform(2.4, 3.8, len(nuclei)),
        drift_px=rng.normal(0, 0.5, (len(nuclei), 2)),
    )
    grain = _dapi_grain(rng)
    drawn = [_draw_plane(nuclei, depth, z, shape, grain) for z in range(-2, n_planes + 2)]
    illumination = uneven_light(shape, fall_off=0.4, rng=rng) * bleached_corner(shape, depth=0.6, reach=0.55)
    planes = [
        photograph(_focus([light for light, _ in drawn], z + 2), illumination=illumination, camera=_CAMERA, rng=rng)
        for z in range(n_planes)
    ]
    return np.stack(planes), renumbered(np.stack([truth for _, truth in drawn[2:-2]]))


def two_channel_field(seed: int) -> tuple[NDArray[np.uint16], Labels]:
    """Return a sheet of cells in two stains, with the nuclei as truth.

    Returns
    -------
    (image, truth)
        Image (2, 512, 512) uint16: membrane, nucleus. Labels (512, 512) uint32 of the nuclei, 0 is background.
    """
    rng = np.random.default_rng(seed)
    sites = hexagonal_sites(_FIELD_SHAPE, pitch_px=34.0, rng=rng)
    sites = crowded_only(sites, share=0.75, scale_px=220.0, rng=rng)
    nuclei = random_nuclei(sites, _CULTURE, rng)
    light, truth = draw_nuclei(nuclei, _FIELD_SHAPE, _dapi_grain(rng))
    illumination = uneven_light(_FIELD_SHAPE, fall_off=0.45, rng=rng)
    left = bleached_corner(_FIELD_SHAPE, depth=0.65, reach=0.6)
    membrane = photograph(
        _membranes(nuclei, truth, rng),
        illumination=illumination,
        camera=_CAMERA._replace(counts=1500.0, haze_share=0.2, background_counts=90.0),
        rng=rng,
    )
    nucleus = photograph(light, illumination=illumination * left, camera=_CAMERA, rng=rng)
    return np.stack([membrane, nucleus]), renumbered(truth)


class _Depth(NamedTuple):
    """Where ellipsoids lie along z, in planes, and how far their sections drift per plane."""

    centre: NDArray[np.float64]
    radius: NDArray[np.float64]
    drift_px: NDArray[np.float64]


def _draw_plane(nuclei: Nuclei, depth: _Depth, z: int, shape: tuple[int, int], grain: Light) -> tuple[Light, Labels]:
    """Return the light and the truth of one plane's sections through all ellipsoids."""
    along = (z - depth.centre) / depth.radius
    width = np.sqrt(np.clip(1 - along**2, 0, None))
    shift = depth.drift_px * (z - depth.centre)[:, None]
    sections = nuclei.scaled(width, shift)
    light, _ = draw_nuclei(sections, shape, grain)
    _, truth = draw_nuclei(nuclei.scaled(np.where(width >= 0.45, width, 0.0), shift), shape, grain)
    return light, truth


def _focus(planes: list[Light], z: int) -> Light:
    """Return what is seen at plane `z`: its own light and, blurred, a share of that of two planes on either side."""
    near = planes[z - 1] + planes[z + 1]
    far = planes[z - 2] + planes[z + 2]
    seen: Light = 0.8 * planes[z] + 0.08 * ndimage.gaussian_filter(near, 3.0) + 0.05 * ndimage.gaussian_filter(far, 7.0)
    return seen


def _membranes(nuclei: Nuclei, truth: Labels, rng: np.random.Generator) -> Light:
    """Return cytoplasm with bright borders: each cell is what lies nearest to its nucleus and within reach of it."""
    distance, (row, column) = ndimage.distance_transform_edt(truth == 0, return_indices=True)
    reach_px = 13.0 + 3.7 * smooth_noise(truth.shape, scale_px=9.0, rng=rng)
    cell = np.where(distance < reach_px, truth[row, column], 0)
    border = np.zeros(truth.shape, bool)
    border[:-1] |= cell[:-1] != cell[1:]
    border[:, :-1] |= cell[:, :-1] != cell[:, 1:]
    strength = 0.75 + 0.26 * smooth_noise(truth.shape, scale_px=3.0, rng=rng)
    stain = np.concatenate([[0.0], rng.uniform(0.10, 0.28, len(nuclei))])
    cytoplasm = stain[cell] * np.where(truth > 0, 0.45, 1.0)
    granules = (rng.random(truth.shape) < 0.004) * (cell > 0) * 1.2
    borders = ndimage.gaussian_filter(border * np.clip(strength, 0.2, 1.6), 0.8)
    stained: Light = (cytoplasm + granules + borders).astype(np.float32)
    return stained


def _dapi_grain(rng: np.random.Generator) -> Light:
    """Return the fine, weak speckle of a DNA stain."""
    return chromatin_grain(fine_px=1.3, coarse_px=4.0, contrast=0.13, rng=rng)
