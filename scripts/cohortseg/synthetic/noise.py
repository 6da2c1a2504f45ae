"""Smooth random fields, from which crowding, fibres and reach are drawn."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def smooth_noise(shape: tuple[int, int], *, scale_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a (y, x) float64 random field of mean about 0 and standard deviation 1, its patches `scale_px` wide."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), scale_px, mode="wrap")
    scaled: NDArray[np.float64] = noise / noise.std()
    return scaled
