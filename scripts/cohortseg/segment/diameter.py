"""The diameter of the cells of an image, where the user does not give it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field
from cohortseg.kernels.clean import areas
from cohortseg.segment.cells import labels_from_flows
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import ChannelMix, Normalisation, read_input
from cohortseg.segment.network import FieldNetwork, StyleSize
from cohortseg.settings import PostprocessSettings
from cohortseg.stores.source import ImageSource

# Network pixels per image pixel that are tried: together they cover cells of a third to five times the
# network's diameter.
_SCALES = (2.0, 1.0, 0.5, 0.25)
_SAMPLE_PX = 512
_GRID = 3
_SAMPLES = 4
_FEWEST_CELLS = 3
_NEARLY = 0.6


@dataclass(frozen=True)
class Diameter:
    """A diameter and where it comes from.

    Attributes
    ----------
    diameter_px
        In image pixels.
    origin
        "given", "estimated", "size model", or "network" where no cells were found to estimate it from.
    n_cells
        Cells that the estimate rests on.
    """

    diameter_px: float
    origin: str
    n_cells: int


@dataclass(frozen=True)
class FirstPass:
    """An image and all that it takes to segment samples of it."""

    source: ImageSource
    network: FieldNetwork
    mix: ChannelMix
    normalisation: Normalisation
    settings: PostprocessSettings

    def geometry(self, scale: float) -> Geometry:
        """Return the image on the network's grid at a scale."""
        return Geometry(self.source.shape, scale)

    def tile(self, geometry: Geometry, box: Box) -> Field | None:
        """Return a sample as the network sees it, or None where the image is constant."""
        n_inputs = self.network.n_channels
        return read_input(self.source, self.mix, self.normalisation, geometry, box=box, n_inputs=n_inputs)


@dataclass(frozen=True)
class _Trial:
    """Cells found with the image at one scale: their diameters in image pixels."""

    scale: float
    diameters_px: NDArray[np.float64]

    @property
    def covered_px(self) -> float:
        """Image area that the cells cover."""
        return float((np.pi / 4 * self.diameters_px**2).sum())


def estimate_diameter(first_pass: FirstPass) -> Diameter:
    """Estimate the median diameter of the cells from a first pass over a few samples of the image.

    The samples with the most contrast are segmented at several scales. A network finds cells best near the
    diameter it was trained on, so the estimate is the median diameter of the scale whose cells come closest to it,
    among the scales that find nearly as much cell area as the best.
    """
    network_px = first_pass.network.diameter_px
    centres = _busiest(first_pass)
    trials = [_Trial(scale, _diameters(first_pass, scale, centres)) for scale in _SCALES]
    trials = [trial for trial in trials if len(trial.diameters_px) >= _FEWEST_CELLS]
    if not trials:
        return Diameter(network_px, "network", 0)
    best = choose_trial(trials, network_px)
    return Diameter(float(np.median(best.diameters_px)), "estimated", len(best.diameters_px))


def predict_diameter(size_model: StyleSize, first_pass: FirstPass) -> Diameter:
    """Predict the median diameter of the cells with a size model, as Cellpose 3.1 does (models.py, SizeModel).

    The styles of the samples with the most contrast, at the image's own scale as the model was trained, give a first
    diameter; the median of the cells found at that diameter is the answer.
    """
    network_px = first_pass.network.diameter_px
    centres = _busiest(first_pass)
    styles = _styles(first_pass, centres)
    if not styles:
        return Diameter(network_px, "network", 0)
    total = np.sum(styles, axis=0)
    predicted_px = size_model.predict_px(total / np.linalg.norm(total))
    found_px = _diameters(first_pass, network_px / predicted_px, centres)
    if not len(found_px):
        return Diameter(network_px, "network", 0)
    return Diameter(float(np.median(found_px)), "size model", len(found_px))


def choose_trial(trials: list[_Trial], network_diameter_px: float) -> _Trial:
    """Return the trial whose cells are nearest to the network's diameter, among those that cover nearly the most."""
    most = max(trial.covered_px for trial in trials)
    covering = [trial for trial in trials if trial.covered_px >= _NEARLY * most]

    def off(trial: _Trial) -> float:
        return abs(float(np.log(np.median(trial.diameters_px) * trial.scale / network_diameter_px)))

    return min(covering, key=off)


def _busiest(first_pass: FirstPass) -> list[tuple[float, float]]:
    """Return the centres (y, x), as fractions of the image, of the samples with the most contrast."""
    geometry = first_pass.geometry(1.0)
    if max(geometry.image_shape) <= _SAMPLE_PX:
        return [(0.5, 0.5)]
    steps = [(i + 0.5) / _GRID for i in range(_GRID)]
    contrast = {}
    for centre in ((y, x) for y in steps for x in steps):
        tile = first_pass.tile(geometry, _sample_box(geometry, centre, first_pass.network.stride_px))
        contrast[centre] = 0.0 if tile is None else float(tile.std())
    return sorted(contrast, key=lambda centre: (-contrast[centre], centre))[:_SAMPLES]


def _sample_box(geometry: Geometry, centre: tuple[float, float], stride_px: int) -> Box:
    """Return a box of the network's grid around a centre, within the image, sides multiples of the stride."""
    starts, stops = [], []
    for length, place in zip(geometry.network_shape, centre, strict=True):
        side = min(_SAMPLE_PX, -(-length // stride_px) * stride_px)
        start = min(max(0, round(length * place - side / 2)), max(0, length - side))
        starts.append(start)
        stops.append(start + side)
    return Box(starts[0], starts[1], stops[0], stops[1])


def _styles(first_pass: FirstPass, centres: list[tuple[float, float]]) -> list[NDArray[np.float32]]:
    """Return the style, (features,), of each sample with any contrast, at the image's own scale."""
    network, geometry = first_pass.network, first_pass.geometry(1.0)
    tiles = [first_pass.tile(geometry, _sample_box(geometry, centre, network.stride_px)) for centre in centres]
    return [network.forward(tile[None])[1][0] for tile in tiles if tile is not None]


def _diameters(first_pass: FirstPass, scale: float, centres: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Return the diameters, in image pixels, of the cells that are found at a scale."""
    geometry = first_pass.geometry(scale)
    return np.concatenate([_sample_diameters(first_pass, geometry, centre) for centre in centres])


def _sample_diameters(first_pass: FirstPass, geometry: Geometry, centre: tuple[float, float]) -> NDArray[np.float64]:
    """Return the diameters, in image pixels, of the cells of one sample that its border does not cut."""
    box = _sample_box(geometry, centre, first_pass.network.stride_px)
    tile = first_pass.tile(geometry, box)
    if tile is None:
        return np.zeros(0)
    inside = box.intersection(Box(0, 0, *geometry.network_shape))
    field: Field = first_pass.network.forward(tile[None])[0][0][:, : inside.height, : inside.width]
    labels = labels_from_flows(field[:2], field[2], first_pass.settings)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    sizes = areas(labels)
    sizes[np.unique(rim)] = 0
    sizes[0] = 0
    return np.asarray(2 * np.sqrt(sizes[sizes > 0] / np.pi) / geometry.scale)
