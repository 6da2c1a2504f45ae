"""From an opened image and settings to a task: channels, percentiles, diameter, scale."""

from dataclasses import dataclass

from cohortseg.segment.diameter import Diameter, FirstPass, estimate_diameter, predict_diameter
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import Normalisation, choose_channels, measure_normalisation
from cohortseg.segment.network import FieldNetwork
from cohortseg.segment.stream import Task
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings
from cohortseg.stores.source import ImageSource


@dataclass(frozen=True)
class Prepared:
    """What all of an image has to be looked at for, before the first tile."""

    normalisation: Normalisation
    diameter: Diameter


def prepare(source: ImageSource, network: FieldNetwork, settings: SegmentSettings, tally: Tally) -> Prepared:
    """Measure what the image alone decides: its percentiles, and the diameter of its cells.

    The diameter is the one given, else the size model's, else estimated.

    Raises
    ------
    ChannelError
        If a channel that was asked for is not in the image.
    """
    mix = choose_channels(source, settings.channels, network.n_inputs)
    with tally.timed("normalise"):
        normalisation = measure_normalisation(
            source, mix, settings.normalise, n_workers=settings.pipeline.n_read_workers
        )
    with tally.timed("diameter"):
        first_pass = FirstPass(source, network, mix, normalisation, settings.postprocess)
        if settings.diameter is not None:
            diameter = Diameter(settings.diameter, "given", 0)
        elif network.size_model is not None:
            diameter = predict_diameter(network.size_model, first_pass)
        else:
            diameter = estimate_diameter(first_pass)
    return Prepared(normalisation, diameter)


def make_task(source: ImageSource, network: FieldNetwork, settings: SegmentSettings, prepared: Prepared) -> Task:
    """Return the task of segmenting an image that was prepared with the same network and settings."""
    mix = choose_channels(source, settings.channels, network.n_inputs)
    geometry = Geometry(source.shape, network.diameter_px / prepared.diameter.diameter_px)
    return Task(source, network, mix, prepared.normalisation, geometry, settings)
