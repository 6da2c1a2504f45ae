"""The diameter of the cells of an image, where the user does not give it."""

from dataclasses import dataclass

import numpy as np

from cohortseg.arrays import Box, Field
from cohortseg.kernels.clean import areas
from cohortseg.segment.cells import labels_from_flows
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import ChannelMix, Normalisation, read_input
from cohortseg.segment.network import FieldNetwork
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
        "given", "estimated", or "network" where no cells were found to estimate it from.
    n_cells
        Cells that the estimate rests on.
    """

    diameter_px: float
    origin: str
    n_cells: int


@dataclass(frozen=True)
class _Trial:
    """Cells found with the image at one scale: their diameters in image pixels."""

    scale: float
    diameters_px: np.ndarray

    @property
    def covered_px(self) -> float:
        """Image area that the cells cover."""
        return float((np.pi / 4 * self.diameters_px**2).sum())


def estimate_diameter(
    source: ImageSource,
    network: FieldNetwork,
    mix: ChannelMix,
    normalisation: Normalisation,
    settings: PostprocessSettings,
) -> Diameter:
    """Estimate the median diameter of the cells from a first pass over a few samples of the image.

    The samples with the most contrast are segmented at several scales. A network finds cells best near the
    diameter it was trained on, so the estimate is the median diameter of the scale whose cells come closest to it,
    among the scales that find nearly as much cell area as the best.
    """
    trials = []
    boxes = _busiest(source, network, mix, normalisation)
    for scale in _SCALES:
        geometry = Geometry(source.shape, scale)
        found = [
            _diameters(source, network, mix, normalisation, geometry, settings, centre) for centre in boxes
        ]
        trials.append(_Trial(scale, np.concatenate(found)))
    trials = [trial for trial in trials if len(trial.diameters_px) >= _FEWEST_CELLS]
    if not trials:
        return Diameter(network.diameter_px, "network", 0)
    best = choose_trial(trials, network.diameter_px)
    return Diameter(float(np.median(best.diameters_px)), "estimated", len(best.diameters_px))


def choose_trial(trials: list[_Trial], network_diameter_px: float) -> _Trial:
    """Return the trial whose cells are nearest to the network's diameter, among those that cover nearly the most."""
    most = max(trial.covered_px for trial in trials)
    covering = [trial for trial in trials if trial.covered_px >= _NEARLY * most]

    def off(trial: _Trial) -> float:
        return abs(float(np.log(np.median(trial.diameters_px) * trial.scale / network_diameter_px)))

    return min(covering, key=off)


def _busiest(
    source: ImageSource, network: FieldNetwork, mix: ChannelMix, normalisation: Normalisation
) -> list[tuple[float, float]]:
    """Return the centres (y, x), as fractions of the image, of the samples with the most contrast."""
    geometry = Geometry(source.shape, 1.0)
    if max(source.shape) <= _SAMPLE_PX:
        return [(0.5, 0.5)]
    steps = [(i + 0.5) / _GRID for i in range(_GRID)]
    contrast = {}
    for centre in ((y, x) for y in steps for x in steps):
        box = _sample_box(geometry, centre, network.stride_px)
        tile = read_input(source, mix, normalisation, geometry, box=box, n_inputs=network.n_channels)
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


def _diameters(
    source: ImageSource,
    network: FieldNetwork,
    mix: ChannelMix,
    normalisation: Normalisation,
    geometry: Geometry,
    settings: PostprocessSettings,
    centre: tuple[float, float],
) -> np.ndarray:
    """Return the diameters, in image pixels, of the cells of one sample that its border does not cut."""
    box = _sample_box(geometry, centre, network.stride_px)
    tile = read_input(source, mix, normalisation, geometry, box=box, n_inputs=network.n_channels)
    if tile is None:
        return np.zeros(0)
    inside = box.intersection(Box(0, 0, *geometry.network_shape))
    field: Field = network.forward(tile[None])[0][0][:, : inside.height, : inside.width]
    labels = labels_from_flows(field[:2], field[2], settings)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    sizes = areas(labels)
    sizes[np.unique(rim)] = 0
    sizes[0] = 0
    return np.asarray(2 * np.sqrt(sizes[sizes > 0] / np.pi) / geometry.scale)
