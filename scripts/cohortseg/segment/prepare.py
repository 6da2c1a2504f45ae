"""From an opened image and settings to a task: channels, percentiles, diameter, scale."""

from dataclasses import dataclass

from cohortseg.errors import SettingsError
from cohortseg.segment.diameter import Diameter, FirstPass, estimate_diameter, predict_diameter
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import Normalisation, choose_channels
from cohortseg.segment.intensities import choose_normalisation
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

    The diameter is the one given, else the network's own where that takes cells of all sizes, else the size model's,
    else estimated.

    Raises
    ------
    ChannelError
        If a channel that was asked for is not in the image.
    SettingsError
        If the diameter is given in µm and the size of a pixel is not known, or the policy of normalisation lacks what
        it needs.
    """
    mix = choose_channels(source, settings.channels, network.n_inputs)
    with tally.timed("normalise"):
        normalisation = choose_normalisation(source, mix, settings)
    with tally.timed("diameter"):
        first_pass = FirstPass(source, network, mix, normalisation, settings.postprocess)
        if (given_px := given_diameter_px(source, settings)) is not None:
            diameter = Diameter(given_px, "given", 0)
        elif network.scale_free:
            diameter = Diameter(network.diameter_px, "network's own", 0)
        elif network.size_model is not None:
            diameter = predict_diameter(network.size_model, first_pass)
        else:
            diameter = estimate_diameter(first_pass)
    return Prepared(normalisation, diameter)


def given_diameter_px(source: ImageSource, settings: SegmentSettings) -> float | None:
    """Return the diameter that the settings give, in the image's pixels; None where they give none.

    Raises
    ------
    SettingsError
        If it is given in µm and the size of a pixel is not known.
    """
    if settings.diameter_um is None:
        return settings.diameter
    if source.pixel_size_um is None:
        raise SettingsError(
            f"diameter_um is {settings.diameter_um:g}, and {source.path.name} does not say how large its pixels are",
            "a pixel size was expected",
            "Set pixel_size_um, or diameter in pixels.",
        )
    return settings.diameter_um / source.pixel_size_um


def make_task(source: ImageSource, network: FieldNetwork, settings: SegmentSettings, prepared: Prepared) -> Task:
    """Return the task of segmenting an image that was prepared with the same network and settings."""
    mix = choose_channels(source, settings.channels, network.n_inputs)
    geometry = Geometry(source.shape, network.diameter_px / prepared.diameter.diameter_px)
    return Task(source, network, mix, prepared.normalisation, geometry, settings)
