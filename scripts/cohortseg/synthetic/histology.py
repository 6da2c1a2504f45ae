"""A stained tissue section in bright field: nuclei, fibres and stroma as optical densities of two stains."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cohortseg.arrays import Labels
from cohortseg.synthetic.noise import smooth_noise
from cohortseg.synthetic.nuclei import Light, Look, Nuclei, chromatin_grain, draw_nuclei, random_nuclei, renumbered
from cohortseg.synthetic.placing import Points, crowded_only, hexagonal_sites

_SHAPE = (512, 512)
_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
_EOSIN = np.array([0.07, 0.99, 0.11])
_LAMP = np.array([242.0, 240.0, 244.0])
_LOOK = Look(diameter_px=20.0, diameter_spread=0.13, elongation=1.55, waviness=0.05, brightness_spread=0.24)


def histology_field(seed: int) -> tuple[NDArray[np.uint8], Labels]:
    """Return a field of haematoxylin and eosin: dark nuclei along wavy fibres, some of them touching.

    The stains' colours are the optical density vectors of Ruifrok and Johnston, "Quantification of histochemical
    staining by color deconvolution", Anal. Quant. Cytol. Histol. 23 (2001), table 1; light follows Beer and Lambert.

    Returns
    -------
    (image, truth)
        Image (512, 512, 3) uint8, R, G, B, and labels (512, 512) uint32 of the nuclei from 1 without gaps;
        0 is background.
    """
    rng = np.random.default_rng(seed)
    direction = _fibre_direction(_SHAPE, rng)
    sites = crowded_only(hexagonal_sites(_SHAPE, pitch_px=26.0, rng=rng), share=0.5, scale_px=170.0, rng=rng)
    nuclei = _along_fibres(random_nuclei(sites, _LOOK, rng), direction, rng)
    grain = chromatin_grain(fine_px=1.2, coarse_px=4.5, contrast=0.16, rng=rng)
    stain, truth = draw_nuclei(nuclei, _SHAPE, grain)
    fibres = _fibres(direction, rng)
    cytoplasm = ndimage.gaussian_filter((truth > 0).astype(np.float32), 7.0)
    haematoxylin = 0.8 * ndimage.gaussian_filter(stain, 0.9) + 0.09 + 0.05 * fibres + 0.10 * cytoplasm
    eosin = 0.07 + 0.10 * fibres + 0.10 * cytoplasm
    density = haematoxylin[..., None] * _HAEMATOXYLIN + eosin[..., None] * _EOSIN
    seen = _LAMP * 10.0**-density + rng.normal(0, 2.0, (*_SHAPE, 3))
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8), renumbered(truth)


def _fibre_direction(shape: tuple[int, int], rng: np.random.Generator) -> Light:
    """Return the angle (rad, from x towards y) in which fibres run at each pixel: one way, slowly turning."""
    turn = smooth_noise(shape, scale_px=110.0, rng=rng)
    return (rng.uniform(0, np.pi) + 0.7 * turn).astype(np.float32)


def _fibres(direction: Light, rng: np.random.Generator) -> Light:
    """Return stroma between 0 and 1: noise smeared along the fibres by line integral convolution.

    The smearing is that of Cabral and Leedom, "Imaging vector fields using line integral convolution", SIGGRAPH 1993,
    with straight lines of 31 px. Wide soft patches make it thick here and thin there.
    """
    noise = smooth_noise(_SHAPE, scale_px=1.5, rng=rng)
    y, x = np.indices(_SHAPE, dtype=np.float32)
    smeared = np.zeros(_SHAPE)
    for step in np.linspace(-15, 15, 16):
        along = [y + step * np.sin(direction), x + step * np.cos(direction)]
        smeared += ndimage.map_coordinates(noise, along, order=1, mode="reflect")
    patches = smooth_noise(_SHAPE, scale_px=40.0, rng=rng)
    mixed = 0.5 + 0.16 * smeared / smeared.std() + 0.25 * patches
    stroma: Light = np.clip(mixed, 0, 1).astype(np.float32)
    return stroma


def _along_fibres(nuclei: Nuclei, direction: Light, rng: np.random.Generator) -> Nuclei:
    """Return the nuclei turned to lie along the fibres, give or take a quarter of a right angle."""
    pixel: Points = np.floor(nuclei.centre)
    row, column = pixel.astype(np.intp).T
    angle = direction[row, column] + rng.normal(0, 0.35, len(nuclei))
    return nuclei.turned(angle)
