"""Random, augmented crops of labelled images, as a network learns from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels.targets import flow_targets
from cohortseg.settings.training import TrainSettings

# Flows are computed in a frame this much wider than the crop, so that a cell cut by the crop's edge
# still points to its own centre rather than to that of its visible part.
_FRAME_PX = 16
_FOREGROUND_CENTRED = 0.85


@dataclass(frozen=True)
class Example:
    """One labelled image.

    Attributes
    ----------
    image
        (y, x) float32, normalised: 0 and 1 are the image's lower and upper percentile.
    labels
        (y, x) uint32, 0 is background.
    diameter_px
        Median diameter of its cells.
    kind
        Kind of image, a key of `TrainSettings.kind_weights`.
    """

    image: NDArray[np.float32]
    labels: Labels
    diameter_px: float
    kind: str


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
        (n, 2, y, x) float32 network input, whose second channel is empty, and (n, 3, y, x) float32 targets:
        flow y, flow x (five times a unit step), inside a cell (0 or 1).
    """
    rng = np.random.default_rng((settings.seed, step))
    chosen = rng.choice(len(examples), settings.batch_size, p=weights)
    crops = [_random_crop(examples[i], settings, rng) for i in chosen]
    return np.stack([image for image, _ in crops]), np.stack([target for _, target in crops])


def _random_crop(
    example: Example, settings: TrainSettings, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scale = settings.diameter_px / example.diameter_px * settings.scale_jitter ** rng.uniform(-1, 1)
    image, labels = example.image, example.labels
    if scale < 0.67:
        # Linear sampling of a much finer image would alias: average it down first.
        shape = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.float32)
    side = settings.crop_px + 2 * _FRAME_PX
    centre_y, centre_x = _centre(labels, settings.crop_px / scale, rng)
    angle = rng.uniform(0, 2 * np.pi)
    flip = rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([flip, 1.0])
    warped_labels = _warp(labels.astype(np.float32), turn, (centre_x, centre_y), scale, side, cv2.INTER_NEAREST)
    fx, fy = image.shape[1] / labels.shape[1], image.shape[0] / labels.shape[0]
    warped = _warp(image, turn, (centre_x * fx, centre_y * fy), scale / fx, side, cv2.INTER_LINEAR)
    cells = warped_labels.astype(np.uint32)
    inner = (slice(_FRAME_PX, -_FRAME_PX), slice(_FRAME_PX, -_FRAME_PX))
    target = np.empty((3, settings.crop_px, settings.crop_px), np.float32)
    target[:2] = 5.0 * flow_targets(cells)[:, *inner]
    target[2] = cells[inner] > 0
    return np.stack([_relight(warped[inner], rng), np.zeros_like(target[2])]), target


def _centre(labels: Labels, side: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return a random (y, x) for a crop of `side` image pixels, mostly near a cell and mostly within the image."""
    flat = np.flatnonzero(labels) if rng.random() < _FOREGROUND_CENTRED else np.empty(0, np.int64)
    index = rng.choice(flat) if flat.size else rng.integers(labels.size)
    pixel = np.array(divmod(int(index), labels.shape[1])) + 0.5 + rng.uniform(-0.4, 0.4, 2) * side
    shape = np.array(labels.shape)
    margin = np.minimum(side * 0.5, shape / 2)
    y, x = np.clip(pixel, margin, shape - margin)
    return float(y), float(x)


def _warp(
    plane: NDArray[np.float32],
    turn: NDArray[np.float64],
    centre: tuple[float, float],
    scale: float,
    side: int,
    interpolation: int,
) -> NDArray[np.float32]:
    """Return a (side, side) view turned, scaled and centred; 0 outside the image."""
    inverse = np.linalg.inv(turn) / scale
    shift = np.array(centre) - inverse @ np.array([side / 2, side / 2])
    # OpenCV places pixel centres on integers; here they are at half-integers.
    shift += inverse @ np.array([0.5, 0.5]) - 0.5
    matrix = np.column_stack([inverse, shift])
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, matrix, (side, side), flags=flags, borderValue=0.0), np.float32)


def _relight(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Vary contrast, brightness, gamma, sharpness and noise; rarely invert."""
    if rng.random() < 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2)), np.float32)
    if rng.random() < 0.5:
        clipped = np.clip(image, 0, None)
        image = np.asarray(clipped ** rng.uniform(0.6, 1.5), np.float32)
    image = image * np.float32(rng.uniform(0.75, 1.25)) + np.float32(rng.normal(0, 0.06))
    if rng.random() < 0.3:
        noise = rng.standard_normal(image.shape, np.float32)
        image = image + np.float32(rng.uniform(0.0, 0.12)) * noise
    if rng.random() < 0.05:
        image = np.float32(1.0) - image
    return image
