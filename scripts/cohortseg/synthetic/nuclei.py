"""Nuclei as outlines with a texture, and their drawing into light and truth."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cohortseg.arrays import Box, Labels
from cohortseg.synthetic.placing import Points

Light = NDArray[np.float32]
"""(y, x) float32: light given off (or stain taken up) by what was drawn; about 1 inside a bright nucleus."""

_GRAIN_PX = 256
_OVERLAP_GAIN = 0.35
"""How much of the fainter of two overlapping nuclei shines through: they lie above one another, partly in focus."""


@dataclass(frozen=True)
class Nuclei:
    """A population of nuclei, one row each: ellipses with three low waves around their outline.

    `label` (n,) uint32 is what truth holds; `centre` (n, 2) is (y, x); `semi_axes_px` (n, 2) is (along, across)
    `angle_rad` (n,), measured from x towards y; `waves` (n, 3, 2) are amplitude, as a share of the radius, and
    phase of 2, 3 and 4 waves; `brightness` (n,); `grain` (n, 2) is where its texture starts in the grain tile.
    """

    label: NDArray[np.uint32]
    centre: Points
    semi_axes_px: NDArray[np.float64]
    angle_rad: NDArray[np.float64]
    waves: NDArray[np.float64]
    brightness: NDArray[np.float64]
    grain: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of nuclei."""
        return self.label.size

    def scaled(self, factor: NDArray[np.float64], shift_px: NDArray[np.float64]) -> "Nuclei":
        """Return the nuclei with axes times `factor` (n,), moved by `shift_px` (n, 2); those of factor 0 left out."""
        kept = np.flatnonzero(factor > 0)
        moved = replace(self, semi_axes_px=self.semi_axes_px * factor[:, None], centre=self.centre + shift_px)
        return moved.taken(kept)

    def turned(self, angle_rad: NDArray[np.float64]) -> "Nuclei":
        """Return the nuclei with these angles (n,)."""
        return replace(self, angle_rad=angle_rad)

    def taken(self, rows: NDArray[np.intp]) -> "Nuclei":
        """Return the nuclei of these rows, their labels unchanged."""
        return Nuclei(**{name: column[rows] for name, column in vars(self).items()})


class Look(NamedTuple):
    """What sets one kind of nuclei apart: lengths in pixels, shares of 1."""

    diameter_px: float
    diameter_spread: float
    elongation: float
    waviness: float
    brightness_spread: float


def random_nuclei(centres: Points, look: Look, rng: np.random.Generator) -> Nuclei:
    """Return one nucleus a centre, labelled from 1, with sizes, outlines and brightness drawn at random.

    `look.elongation` is the mean ratio of the long to the short axis; area does not depend on it.
    """
    n = len(centres)
    radius = look.diameter_px / 2 * np.clip(rng.normal(1, look.diameter_spread, n), 0.6, 1.5)
    ratio = np.sqrt(np.clip(rng.normal(look.elongation, 0.3 * (look.elongation - 1), n), 1.02, 4))
    amplitude = np.abs(rng.normal(0, look.waviness, (n, 3))) / (1, 1.5, 2)
    return Nuclei(
        label=np.arange(1, n + 1, dtype=np.uint32),
        centre=centres,
        semi_axes_px=np.stack([radius * ratio, radius / ratio], axis=1),
        angle_rad=rng.uniform(0, np.pi, n),
        waves=np.stack([np.clip(amplitude, 0, 0.15), rng.uniform(0, 2 * np.pi, (n, 3))], axis=2),
        brightness=np.clip(rng.lognormal(-0.15, look.brightness_spread, n), 0.35, 2),
        grain=rng.integers(0, _GRAIN_PX // 2, (n, 2)),
    )


def chromatin_grain(*, fine_px: float, coarse_px: float, contrast: float, rng: np.random.Generator) -> Light:
    """Return a square tile of texture around 1 with speckles between `fine_px` and `coarse_px` wide."""
    noise = rng.normal(size=(_GRAIN_PX, _GRAIN_PX))
    band = ndimage.gaussian_filter(noise, fine_px, mode="wrap") - ndimage.gaussian_filter(noise, coarse_px, mode="wrap")
    grain: Light = np.clip(1 + contrast * band / band.std(), 0.2, 2.0).astype(np.float32)
    return grain


def draw_nuclei(nuclei: Nuclei, shape: tuple[int, int], grain: Light) -> tuple[Light, Labels]:
    """Draw nuclei as sharp shapes of light, and the truth.

    A pixel belongs to a nucleus where its centre lies inside the outline; where outlines overlap, to the one whose
    centre is nearer in units of its own radius (equal: the earlier row). A nucleus cut in pieces by its neighbours
    keeps the largest in the truth.

    Returns
    -------
    (light, truth)
        Light (y, x) float32 and labels (y, x) uint32, 0 where there is no nucleus.
    """
    light = np.zeros(shape, np.float32)
    truth = np.zeros(shape, np.uint32)
    nearest = np.ones(shape, np.float32)
    for row in range(len(nuclei)):
        box = _bounds(nuclei, row, shape)
        distance = relative_distance(nuclei, row, box)
        inside = distance < 1
        y, x = nuclei.grain[row]
        texture = grain[y : y + box.height, x : x + box.width]
        new = np.where(inside, nuclei.brightness[row] * (1 - 0.3 * distance**2) * texture, 0)
        there = light[box.slices]
        light[box.slices] = np.maximum(there, new) + _OVERLAP_GAIN * np.minimum(there, new)
        won = distance < nearest[box.slices]
        truth[box.slices][won] = nuclei.label[row]
        nearest[box.slices][won] = distance[won]
    _keep_largest_pieces(truth)
    return light, truth


def relative_distance(nuclei: Nuclei, row: int, box: Box) -> Light:
    """Return the distance of each pixel centre of `box` from a nucleus's centre: 1 on its outline."""
    y = np.arange(box.y0, box.y1)[:, None] + 0.5 - nuclei.centre[row, 0]
    x = np.arange(box.x0, box.x1)[None, :] + 0.5 - nuclei.centre[row, 1]
    cosine, sine = np.cos(nuclei.angle_rad[row]), np.sin(nuclei.angle_rad[row])
    along = (cosine * x + sine * y) / nuclei.semi_axes_px[row, 0]
    across = (cosine * y - sine * x) / nuclei.semi_axes_px[row, 1]
    theta = np.arctan2(across, along)
    outline = np.ones_like(theta)
    for waves, (amplitude, phase) in enumerate(nuclei.waves[row], start=2):
        outline += amplitude * np.cos(waves * theta + phase)
    distance: Light = (np.hypot(along, across) / outline).astype(np.float32)
    return distance


def renumbered(truth: Labels) -> Labels:
    """Return labels of any shape numbered from 1 without gaps, in their order."""
    present = np.unique(truth)
    present = present[present > 0]
    number = np.zeros(int(truth.max()) + 1, np.uint32)
    number[present] = np.arange(1, present.size + 1)
    return number[truth]


def _bounds(nuclei: Nuclei, row: int, shape: tuple[int, int]) -> Box:
    """Return a box that holds a nucleus whatever its angle, clipped to the image and to the grain tile."""
    reach = min(nuclei.semi_axes_px[row].max() * (1 + nuclei.waves[row, :, 0].sum()) + 1, _GRAIN_PX / 4 - 1)
    y, x = nuclei.centre[row]
    whole = Box(int(y - reach), int(x - reach), int(np.ceil(y + reach)), int(np.ceil(x + reach)))
    return whole.intersection(Box(0, 0, *shape))


def _keep_largest_pieces(truth: Labels) -> None:
    """Clear, in place, all but the largest 4-connected piece of each label."""
    for label, slices in enumerate(ndimage.find_objects(truth.astype(np.int32)), start=1):
        if slices is None:
            continue
        here = truth[slices]
        pieces, n_pieces = ndimage.label(here == label)
        if n_pieces > 1:
            largest = 1 + np.argmax(np.bincount(pieces.ravel())[1:])
            here[(pieces > 0) & (pieces != largest)] = 0
