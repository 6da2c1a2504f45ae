"""The diameter of the cells of an image, where the user does not give it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field
from cohortseg.kernels.clean import areas
from cohortseg.segment.cells import window_cells
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import ChannelMix, Normalisation, read_input
from cohortseg.segment.network import FieldNetwork, StyleSize
from cohortseg.settings import PostprocessSettings
from cohortseg.stores.source import ImageSource
from cohortseg.tiling import Window

# Network pixels per image pixel that are tried: together they cover cells of a third to five times the
# network's diameter.
_SCALES = (2.0, 1.0, 0.5, 0.25)
_SAMPLE_PX = 512
_GRID = 3
_SAMPLES = 4
_FEWEST_CELLS = 3
# Of flow errors among the cells of an image, rounded up.
_SPREAD = 0.3


@dataclass(frozen=True)
class Diameter:
    """A diameter and where it comes from.

    Attributes
    ----------
    diameter_px
        In image pixels.
    origin
        "given", "estimated", "size model", "network's own" of a network that takes cells of all sizes, which are not
        scaled, or "network" where no cells were found to estimate it from.
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
class _Found:
    """Cells of a first pass: their diameters in image pixels, and their flow errors."""

    diameters_px: NDArray[np.float64]
    flow_errors: NDArray[np.float32]

    @property
    def flow_error(self) -> float:
        """Mean flow error, and how uncertain it is: a few cells that fit well by chance do not win."""
        return float(self.flow_errors.mean() + _SPREAD / np.sqrt(len(self.flow_errors)))


def estimate_diameter(first_pass: FirstPass) -> Diameter:
    """Estimate the median diameter of the cells from a first pass over a few samples of the image.

    The samples with the most contrast are segmented at several scales. Near the diameter that a network was trained
    on, its flows fit the cells that they lead to; off it they do not. So the estimate is the median diameter of the
    cells at the scale with the smallest mean flow error, uncertainty added.
    """
    centres = _busiest(first_pass)
    trials = [_first_cells(first_pass, scale, centres) for scale in _SCALES]
    trials = [found for found in trials if len(found.diameters_px) >= _FEWEST_CELLS]
    if not trials:
        return Diameter(first_pass.network.diameter_px, "network", 0)
    best = min(trials, key=lambda found: found.flow_error)
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
    found_px = _first_cells(first_pass, network_px / predicted_px, centres).diameters_px
    if not len(found_px):
        return Diameter(network_px, "network", 0)
    return Diameter(float(np.median(found_px)), "size model", len(found_px))


def _busiest(first_pass: FirstPass) -> list[tuple[float, float]]:
    """Return the centres (y, x), as fractions of the image, of the samples with the most contrast of close pixels."""
    geometry = first_pass.geometry(1.0)
    if max(geometry.image_shape) <= _SAMPLE_PX:
        return [(0.5, 0.5)]
    steps = [(i + 0.5) / _GRID for i in range(_GRID)]
    contrast = {}
    for centre in ((y, x) for y in steps for x in steps):
        tile = first_pass.tile(geometry, _sample_box(geometry, centre, first_pass.network.stride_px))
        contrast[centre] = (
            0.0 if tile is None else float(sum(np.abs(np.diff(tile, axis=axis)).mean() for axis in (1, 2)))
        )
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


def _first_cells(first_pass: FirstPass, scale: float, centres: list[tuple[float, float]]) -> _Found:
    """Return the cells of the samples at a scale that no sample's border cuts."""
    geometry = first_pass.geometry(scale)
    found = [_cells_of_sample(first_pass, geometry, centre) for centre in centres]
    return _Found(
        np.concatenate([part.diameters_px for part in found]), np.concatenate([part.flow_errors for part in found])
    )


def _cells_of_sample(first_pass: FirstPass, geometry: Geometry, centre: tuple[float, float]) -> _Found:
    box = _sample_box(geometry, centre, first_pass.network.stride_px)
    tile = first_pass.tile(geometry, box)
    if tile is None:
        return _Found(np.zeros(0), np.zeros(0, np.float32))
    inside = box.intersection(Box(0, 0, *geometry.network_shape))
    field: Field = first_pass.network.forward(tile[None])[0][0][:, : inside.height, : inside.width]
    settings = first_pass.settings.model_copy(update={"resample": False})
    cells = window_cells(field, Window(inside, inside, inside, inside), geometry, settings)
    whole = np.ones(len(cells.scores) + 1, np.bool_)
    for side in (cells.labels[0], cells.labels[-1], cells.labels[:, 0], cells.labels[:, -1]):
        whole[side] = False
    sizes = areas(cells.labels)[1:][whole[1:]]
    return _Found(2 * np.sqrt(sizes / np.pi), cells.flow_errors[whole[1:]])
