"""From an opened image and settings to a task: channels, percentiles, diameter, scale."""

from cohortseg.segment.diameter import Diameter, FirstPass, estimate_diameter, predict_diameter
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import choose_channels, measure_normalisation
from cohortseg.segment.network import FieldNetwork
from cohortseg.segment.stream import Task
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings
from cohortseg.stores.source import ImageSource


def prepare_task(
    source: ImageSource, network: FieldNetwork, settings: SegmentSettings, tally: Tally
) -> tuple[Task, Diameter]:
    """Decide what the image alone decides, before the first tile.

    The diameter is the one given, else the size model's, else estimated.

    Raises
    ------
    ChannelError
        If a channel that was asked for is not in the image.
    """
    mix = choose_channels(source, settings.channels, network.n_inputs)
    with tally.timed("normalise"):
        normalisation = measure_normalisation(source, mix, settings.normalise)
    with tally.timed("diameter"):
        first_pass = FirstPass(source, network, mix, normalisation, settings.postprocess)
        if settings.diameter is not None:
            diameter = Diameter(settings.diameter, "given", 0)
        elif network.size_model is not None:
            diameter = predict_diameter(network.size_model, first_pass)
        else:
            diameter = estimate_diameter(first_pass)
    geometry = Geometry(source.shape, network.diameter_px / diameter.diameter_px)
    return Task(source, network, mix, normalisation, geometry, settings), diameter
