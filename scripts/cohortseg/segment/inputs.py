"""What the network sees: channels chosen, brought to its grid, scaled by percentiles of the whole image."""

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field
from cohortseg.errors import ChannelError
from cohortseg.kernels.histogram import Among, HistogramPercentiles
from cohortseg.kernels.resample import resample, source_box
from cohortseg.segment.ahead import map_ahead
from cohortseg.segment.geometry import Geometry
from cohortseg.settings import NormaliseSettings
from cohortseg.stores.channels import ChannelGroup, channel_groups
from cohortseg.stores.source import ImageSource
from cohortseg.tiling import blocks

_BLOCK_PX = 2048


MEAN_OF_RGB = ChannelGroup((0, 1, 2), "sum", "mean of R, G, B")


@dataclass(frozen=True)
class ChannelMix:
    """Which channels of an image make each input of the network: an input is the sum or the maximum of a group.

    Sums and means are the same once normalised, and sums of integers are exact.
    """

    groups: tuple[ChannelGroup, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each input."""
        return tuple(group.name for group in self.groups)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels to read, in the order of the groups."""
        return tuple(channel for group in self.groups for channel in group.channels)

    def inputs(self, pixels: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        """Return the inputs, (y, x) each, of pixels that were read with `channels`, (channel, y, x)."""
        planes, first = [], 0
        for group in self.groups:
            part = pixels[first : first + len(group.channels)]
            planes.append(_joined(part, group))
            first += len(part)
        return planes


def _joined(part: NDArray[np.generic], group: ChannelGroup) -> NDArray[np.generic]:
    if group.join == "max":
        return np.asarray(part.max(axis=0))
    if len(part) == 1:
        return np.asarray(part[0])
    wide = np.uint32 if part.dtype.kind == "u" and part.dtype.itemsize <= 2 else np.float32
    return np.asarray(part.sum(axis=0, dtype=wide))


def choose_channels(source: ImageSource, wanted: tuple[str | int, ...] | None, n_inputs: int) -> ChannelMix:
    """Return the inputs for the channels asked for; none asked for means the first, or the mean of R, G and B.

    All three of a colour image also mean their mean, unless the network takes three.

    Raises
    ------
    ChannelError
        If a channel is not in the image, or more are asked for than the network takes.
    """
    if wanted is None:
        return ChannelMix((MEAN_OF_RGB if source.is_rgb else ChannelGroup((0,), "sum", source.channels[0]),))
    groups = tuple(channel_groups(source, wanted))
    if source.is_rgb and sorted(group.channels for group in groups) == [(0,), (1,), (2,)] and n_inputs < 3:
        return ChannelMix((MEAN_OF_RGB,))
    if len(wanted) > n_inputs:
        raise ChannelError(
            f"{len(wanted)} channels ({', '.join(map(str, wanted))}) are asked for in {source.path.name}",
            f"the network takes at most {n_inputs}",
            "Set channels in config/samples.tsv to those to be segmented, several as one with + or |; leave it empty "
            "for the mean of R, G and B.",
        )
    return ChannelMix(groups)


def only_channel(group: ChannelGroup) -> int | None:
    """Return the index of the channel that an input shows, None where it shows several."""
    return group.channels[0] if len(group.channels) == 1 else None


@dataclass(frozen=True)
class Normalisation:
    """Intensity of each input (on the scale of `ChannelMix.inputs`) that becomes 0 and 1.

    Of an inverted image `lower`, which becomes 0, is the lighter of the two: its light ground is 0 then, as is what
    lies beyond the image, and NaN.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def inverted(self) -> "Normalisation":
        """Return the normalisation that makes 0 of 1 and 1 of 0."""
        return Normalisation(self.upper, self.lower)

    def apply(self, inputs: Field) -> Field:
        """Scale (input, y, x) in place; an input without contrast becomes 0, as does NaN."""
        for plane, lower, upper in zip(inputs, self.lower, self.upper, strict=True):
            if abs(upper - lower) > 0:
                plane -= np.float32(lower)
                plane *= np.float32(1.0 / (upper - lower))
            else:
                plane[:] = 0
        return np.nan_to_num(inputs, copy=False)


def measure_normalisation(
    source: ImageSource, mix: ChannelMix, settings: NormaliseSettings, *, dark_cells: bool = False, n_workers: int = 1
) -> Normalisation:
    """Return exact percentiles of each input over the whole image, streamed block by block, read by so many threads.

    With `settings.foreground` the upper percentile is that of the pixels above Otsu's threshold; of an image of dark
    cells on light ground, the lower one that of the others.
    """
    probe = mix.inputs(np.zeros((len(mix.channels), 1, 1), source.dtype))
    among: tuple[Among, Among] = ("all", "all")
    if settings.foreground:
        among = ("below", "all") if dark_cells else ("all", "above")
    accumulators = [
        HistogramPercentiles(plane.dtype, settings.percentiles(group.name, only_channel(group)), among)
        for plane, group in zip(probe, mix.groups, strict=True)
    ]
    again = True
    while again:
        read = map_ahead(
            lambda box: mix.inputs(source.read(mix.channels, box)),
            blocks(source.shape, _BLOCK_PX),
            n_workers=n_workers,
            queue_size=n_workers,
            name="read",
        )
        with closing(read) as all_planes:
            for planes in all_planes:
                for accumulator, plane in zip(accumulators, planes, strict=True):
                    accumulator.add(plane)
        again = any([accumulator.next_pass() for accumulator in accumulators])
    results = [accumulator.result() for accumulator in accumulators]
    return Normalisation(tuple(float(r[0]) for r in results), tuple(float(r[1]) for r in results))


def read_input(
    source: ImageSource,
    mix: ChannelMix,
    normalisation: Normalisation,
    geometry: Geometry,
    *,
    box: Box,
    n_inputs: int,
) -> Field | None:
    """Return one tile as the network sees it, or None if the image is constant there.

    Parameters
    ----------
    box
        Tile in network pixels; beyond the image it is 0, as the ground is: intensities at the lower percentile, or of
        an inverted image at the upper one.

    Returns
    -------
    Field or None
        (n_inputs, y, x) float32; inputs that no channel was chosen for are 0.
    """
    height, width = geometry.network_shape
    inside = box.intersection(Box(0, 0, height, width))
    needed = source_box(inside, geometry.network_shape, geometry.image_shape)
    planes = mix.inputs(source.read(mix.channels, needed))
    if all((plane == plane.flat[0]).all() for plane in planes):
        return None
    pixels = np.stack([np.asarray(plane, np.float32) for plane in planes])
    scaled = resample(pixels, needed, geometry.image_shape, inside, geometry.network_shape)
    tile = np.zeros((n_inputs, box.height, box.width), np.float32)
    tile[: len(planes), *inside.shifted(-box.y0, -box.x0).slices] = normalisation.apply(scaled)
    return tile
