"""Random, augmented crops of labelled images, as a network learns from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels.targets import flow_targets
from cohortseg.settings.training import TrainSettings

# Flows are computed in a frame wider than the crop by this many diameters on each side, so that a cell cut by the
# crop's edge still points to its own centre rather than to that of its visible part.
_FRAME_DIAMETERS = 0.8
_FOREGROUND_CENTRED = 0.85
# Pixels looked at to find one of a cell: an image with a hundredth of cells fails one time in 170.
_TRIES = 512
_SMALLEST_SAMPLED = 0.67
# Background within this many diameters of a cell that does not teach does not teach either: it may be part of it. On
# cells that were outlined at half their width, 0.3 and 0.45 gave better networks than 0.15.
_RIM_DIAMETERS = 0.3


@dataclass(frozen=True)
class Example:
    """One labelled image.

    Attributes
    ----------
    image
        (plane, y, x) floats, normalised: 0 and 1 are each plane's lower and upper percentile, or the reverse where it
        is inverted. Only the part that a crop shows is read, so it may lie on disk.
    labels
        (y, x) unsigned integers, 0 is background; below 2**24, since crops are warped as float32.
    diameter_px
        Median diameter of its cells.
    kind
        Kind of image, a key of `TrainSettings.kind_weights`.
    is_colour
        The planes are R, G and B, of which each crop shows a mix; else they are the network's inputs, in order.
    untaught
        Labels of the cells that are not to be learned from, neither as cells nor as background.
    """

    image: NDArray[np.floating[Any]]
    labels: NDArray[np.unsignedinteger[Any]]
    diameter_px: float
    kind: str
    is_colour: bool = False
    untaught: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))


def example_weights(examples: Sequence[Example], kind_weights: dict[str, float]) -> NDArray[np.float64]:
    """Return the probability with which each example is drawn: kinds by their share, images of a kind alike."""
    other = float(np.mean(list(kind_weights.values()))) if kind_weights else 1.0
    kinds = [example.kind for example in examples]
    weights = np.array([kind_weights.get(kind, other) / kinds.count(kind) for kind in kinds])
    return np.asarray(weights / weights.sum(), np.float64)


def random_batch(
    examples: Sequence[Example], weights: NDArray[np.float64], settings: TrainSettings, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the crops of one step; the same for the same seed and step, whoever computes them.

    Returns
    -------
    tuple
        (n, widths[0], y, x) float32 network input, empty in channels that an image has no plane for, and
        (n, 4, y, x) float32 targets: flow y, flow x (five times a unit step), inside a cell (0 or 1), whether the
        pixel teaches (0 or 1). The targets of pixels that teach do not depend on what is labelled in those that do not.
    """
    rng = np.random.default_rng((settings.seed, step))
    chosen = rng.choice(len(examples), settings.batch_size, p=weights)
    crops = [_random_crop(examples[i], settings, rng) for i in chosen]
    return np.stack([image for image, _ in crops]), np.stack([target for _, target in crops])


def _random_crop(
    example: Example, settings: TrainSettings, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scale = settings.diameter_px / example.diameter_px * settings.scale_jitter ** rng.uniform(-1, 1)
    frame_px = round(_FRAME_DIAMETERS * settings.diameter_px)
    side = settings.crop_px + 2 * frame_px
    centre = _centre(example, settings.crop_px / scale, rng)
    angle = rng.uniform(0, 2 * np.pi)
    flip = rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([flip, 1.0])
    view = _View(example.labels.shape, centre, turn, scale, side)
    cells = view.of_labels(example.labels)
    untaught = np.isin(cells, example.untaught)
    # Gone before the flows are made, since the flow at a cell's edge depends on the cells that touch it.
    cells[untaught] = 0
    inner = (slice(frame_px, -frame_px), slice(frame_px, -frame_px))
    target = np.empty((4, settings.crop_px, settings.crop_px), np.float32)
    target[:2] = 5.0 * flow_targets(cells)[:, *inner]
    target[2] = cells[inner] > 0
    target[3] = _teaching(cells, untaught, _RIM_DIAMETERS * example.diameter_px * scale)[inner]
    planes = np.stack([view.of_plane(plane)[inner] for plane in example.image])
    if example.is_colour:
        mix = rng.dirichlet(settings.colour_mix).astype(np.float32)
        planes = np.tensordot(mix, planes, 1)[None]
    image = np.zeros((settings.widths[0], settings.crop_px, settings.crop_px), np.float32)
    image[: len(planes)] = _relight(planes, rng)
    return image, target


def _teaching(cells: Labels, untaught: NDArray[np.bool_], rim_px: float) -> NDArray[np.bool_]:
    """Return the (y, x) pixels that teach: not those of untaught cells, nor background up to `rim_px` from them.

    Parameters
    ----------
    cells
        (y, x) labels of the cells that are taught.
    untaught
        (y, x) the pixels of the others.
    """
    if not untaught.any():
        return ~untaught
    distance_px = np.asarray(cv2.distanceTransform((~untaught).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    return np.asarray((distance_px > rim_px) | (cells > 0))


def _centre(example: Example, side: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return a random (y, x) for a crop of `side` image pixels, mostly near a cell and mostly within the image."""
    shape = np.array(example.labels.shape)
    pixels = rng.integers(0, shape, (_TRIES if rng.random() < _FOREGROUND_CENTRED else 1, 2))
    labels = example.labels[pixels[:, 0], pixels[:, 1]]
    found = pixels[(labels > 0) & ~np.isin(labels, example.untaught)]
    pixel = (found if len(found) else pixels)[0] + 0.5 + rng.uniform(-0.4, 0.4, 2) * side
    margin = np.minimum(side * 0.5, shape / 2)
    y, x = np.clip(pixel, margin, shape - margin)
    return float(y), float(x)


class _View:
    """A square of an image, turned and scaled: `side` pixels wide, around a centre (y, x), 0 outside the image.

    Parameters
    ----------
    shape
        (y, x) of the image.
    turn
        (2, 2), acts on (x, y).
    scale
        Pixels of the view per pixel of the image.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        centre: tuple[float, float],
        turn: NDArray[np.float64],
        scale: float,
        side: int,
    ) -> None:
        self._side, self._scale = side, scale
        self._inverse = np.linalg.inv(turn) / scale
        reach = side / 2 / scale * float(np.abs(turn).sum(axis=1).max()) + 2
        starts = [max(0, int(c - reach)) for c in centre]
        stops = [min(n, int(c + reach) + 1) for c, n in zip(centre, shape, strict=True)]
        self._part = tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))
        self._centre_xy = np.array([centre[1] - starts[1], centre[0] - starts[0]])

    def of_labels(self, labels: NDArray[np.unsignedinteger[Any]]) -> Labels:
        """Return the view of (y, x) labels, by the nearest pixel."""
        part = np.asarray(labels[self._part], np.float32)
        return self._warp(part, (1.0, 1.0), cv2.INTER_NEAREST).astype(np.uint32)

    def of_plane(self, plane: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the view of (y, x) intensities, linearly between pixels."""
        part = np.asarray(plane[self._part], np.float32)
        if self._scale >= _SMALLEST_SAMPLED:
            return self._warp(part, (1.0, 1.0), cv2.INTER_LINEAR)
        # Linear sampling of a much finer image would alias: average it down first.
        width, height = (max(1, round(n * self._scale)) for n in part.shape[::-1])
        small = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        return self._warp(small, (width / part.shape[1], height / part.shape[0]), cv2.INTER_LINEAR)

    def _warp(
        self, part: NDArray[np.float32], shrunk_xy: tuple[float, float], interpolation: int
    ) -> NDArray[np.float32]:
        """Return the view of the part of the image that it shows, shrunk before by a factor in x and in y."""
        inverse = np.diag(shrunk_xy) @ self._inverse
        shift = self._centre_xy * shrunk_xy - inverse @ np.array([self._side / 2, self._side / 2])
        # OpenCV places pixel centres on integers; here they are at half-integers.
        shift += inverse @ np.array([0.5, 0.5]) - 0.5
        matrix = np.column_stack([inverse, shift])
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(part, matrix, (self._side, self._side), flags=flags, borderValue=0.0))


def _relight(planes: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Vary contrast, brightness, gamma, sharpness and noise of (plane, y, x), alike in all planes; rarely invert."""
    if rng.random() < 0.25:
        sigma_px = rng.uniform(0.4, 1.2)
        planes = np.stack([np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma_px), np.float32) for plane in planes])
    if rng.random() < 0.5:
        planes = np.asarray(np.clip(planes, 0, None) ** rng.uniform(0.6, 1.5), np.float32)
    planes = planes * np.float32(rng.uniform(0.75, 1.25)) + np.float32(rng.normal(0, 0.06))
    if rng.random() < 0.3:
        planes = planes + np.float32(rng.uniform(0.0, 0.12)) * rng.standard_normal(planes.shape, np.float32)
    if rng.random() < 0.05:
        planes = np.float32(1.0) - planes
    return planes
