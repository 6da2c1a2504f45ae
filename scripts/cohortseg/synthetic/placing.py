"""Where nuclei lie: jittered hexagonal sites, thinned at random or to the crowded parts of a field."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.errors import SettingsError
from cohortseg.synthetic.noise import smooth_noise

Points = NDArray[np.float64]
"""(n, 2) float64: positions (y, x) in pixels; the centre of pixel (0, 0) is (0.5, 0.5)."""

_JITTER = 0.28
"""Largest displacement of a site along each axis, as a share of the pitch."""

_CLOSEST_PITCH = 0.75
"""Least pitch, as a share of a nucleus's diameter: below it, nuclei would hide one another."""


def hexagonal_sites(shape: tuple[int, int], *, pitch_px: float, rng: np.random.Generator) -> Points:
    """Return jittered sites of a hexagonal grid, all inside an image of `shape`, in raster order of the grid."""
    row_step = pitch_px * np.sqrt(0.75)
    rows = np.arange(-1, np.ceil(shape[0] / row_step) + 1)
    columns = np.arange(-1, np.ceil(shape[1] / pitch_px) + 1)
    row, column = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    start = rng.uniform(0, 1, 2) * (row_step, pitch_px)
    y = row * row_step + start[0]
    x = (column + 0.5 * (row % 2)) * pitch_px + start[1]
    sites = np.stack([y, x], axis=1) + rng.uniform(-_JITTER, _JITTER, (y.size, 2)) * pitch_px
    inside = np.all((sites >= 0) & (sites < shape), axis=1)
    return sites[inside]


def place_exactly(shape: tuple[int, int], *, n: int, diameter_px: float, rng: np.random.Generator) -> Points:
    """Return exactly `n` sites spread over an image of `shape`, in raster order of their grid.

    Raises
    ------
    SettingsError
        When nuclei of `diameter_px` would have to lie on top of one another.
    """
    if n == 0:
        return np.zeros((0, 2))
    pitch_px = np.sqrt(shape[0] * shape[1] / (n * np.sqrt(0.75)))
    sites = hexagonal_sites(shape, pitch_px=pitch_px, rng=rng)
    while len(sites) < n and pitch_px >= _CLOSEST_PITCH * diameter_px:
        pitch_px *= 0.99
        sites = hexagonal_sites(shape, pitch_px=pitch_px, rng=rng)
    if pitch_px < _CLOSEST_PITCH * diameter_px:
        raise SettingsError(
            f"{n} nuclei of {diameter_px:g} px do not fit in {shape[0]} x {shape[1]} px",
            f"their centres would be closer than {_CLOSEST_PITCH:g} diameters",
            "Ask for fewer or smaller nuclei, or a larger field.",
        )
    return sites[np.sort(rng.permutation(len(sites))[:n])]


def crowded_only(sites: Points, *, share: float, scale_px: float, rng: np.random.Generator) -> Points:
    """Keep about `share` of the sites: those in the crowded parts of a random map whose patches are `scale_px` wide.

    Random scatter keeps the patches from having sharp rims.
    """
    if len(sites) == 0:
        return sites
    cells = np.floor(sites / scale_px * 4).astype(np.intp)
    crowding = smooth_noise((cells[:, 0].max() + 9, cells[:, 1].max() + 9), scale_px=3, rng=rng)
    rank = crowding[cells[:, 0], cells[:, 1]] + rng.normal(0, 0.5, len(sites))
    return sites[rank >= np.quantile(rank, 1 - share)]
