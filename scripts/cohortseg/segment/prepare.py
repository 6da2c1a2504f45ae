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

# On a GPU, whatever takes less than 5 µs of it waits for Python: a window is about 1,500 calls, so it must be large.
_DEVICE_WINDOW_PX = 3072


@dataclass(frozen=True)
class Prepared:
    """What all of an image has to be looked at for, before the first tile, and what all its parts must have alike.

    Attributes
    ----------
    window_px
        Largest side of a window's core, in network pixels: cells come out once only where all parts of an image are cut
        into the same windows, whatever device each part runs on.
    """

    normalisation: Normalisation
    diameter: Diameter
    window_px: int


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
    return Prepared(normalisation, diameter, _window_px(network, settings, diameter.diameter_px))


def _window_px(network: FieldNetwork, settings: SegmentSettings, diameter_px: float) -> int:
    tile_px = settings.pipeline.infer_size
    if network.torch_device is None:
        return tile_px
    # Of a shrunken image, as many of the image's own pixels: their labels are on the host.
    return max(tile_px, round(_DEVICE_WINDOW_PX * min(1.0, network.diameter_px / diameter_px)))


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
    return Task(source, network, mix, prepared.normalisation, geometry, settings, prepared.window_px)
