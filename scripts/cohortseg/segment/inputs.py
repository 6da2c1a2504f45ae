"""What the network sees: channels chosen, brought to its grid, scaled by percentiles of the whole image."""

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field
from cohortseg.errors import ChannelError
from cohortseg.kernels.histogram import HistogramPercentiles
from cohortseg.kernels.resample import resample, source_box
from cohortseg.segment.ahead import map_ahead
from cohortseg.segment.geometry import Geometry
from cohortseg.settings import NormaliseSettings
from cohortseg.stores.source import ImageSource, channel_indices
from cohortseg.tiling import blocks

_BLOCK_PX = 2048


@dataclass(frozen=True)
class ChannelMix:
    """Which channels of an image make each input of the network: an input is the sum of a group.

    Sums and means are the same once normalised, and sums of integers are exact.
    """

    groups: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels to read, in the order of the groups."""
        return tuple(channel for group in self.groups for channel in group)

    def sums(self, pixels: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        """Return the inputs, (y, x) each, of pixels that were read with `channels`, (channel, y, x)."""
        sums, first = [], 0
        for group in self.groups:
            part = pixels[first : first + len(group)]
            wide = np.uint32 if part.dtype.kind == "u" and part.dtype.itemsize <= 2 else np.float32
            sums.append(part[0] if len(group) == 1 else part.sum(axis=0, dtype=wide))
            first += len(group)
        return sums


def choose_channels(source: ImageSource, wanted: tuple[str | int, ...] | None, n_inputs: int) -> ChannelMix:
    """Return the inputs for the channels asked for; none asked for means the first, or the mean of R, G and B.

    All three of a colour image also mean their mean, unless the network takes three.

    Raises
    ------
    ChannelError
        If a channel is not in the image, or more are asked for than the network takes.
    """
    if wanted is None:
        return ChannelMix(((0, 1, 2),), ("mean of R, G, B",)) if source.is_rgb else ChannelMix(
            ((0,),), source.channels[:1]
        )  # fmt: skip
    indices = channel_indices(source, wanted)
    if source.is_rgb and sorted(indices) == [0, 1, 2] and n_inputs < 3:
        return ChannelMix(((0, 1, 2),), ("mean of R, G, B",))
    if len(wanted) > n_inputs:
        raise ChannelError(
            f"{len(wanted)} channels ({', '.join(map(str, wanted))}) are asked for in {source.path.name}",
            f"the network takes at most {n_inputs}",
            "Set channels in config/samples.tsv to those to be segmented; leave it empty for the mean of R, G and B.",
        )
    return ChannelMix(tuple((i,) for i in indices), tuple(source.channels[i] for i in indices))


@dataclass(frozen=True)
class Normalisation:
    """Intensity of each input (on the scale of `ChannelMix.sums`) that becomes 0 and 1.

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
    source: ImageSource, mix: ChannelMix, settings: NormaliseSettings, *, n_workers: int = 1
) -> Normalisation:
    """Return exact percentiles of each input over the whole image, streamed block by block, read by so many threads."""
    percentiles = (settings.lower_percentile, settings.upper_percentile)
    probe = mix.sums(np.zeros((len(mix.channels), 1, 1), source.dtype))
    accumulators = [HistogramPercentiles(plane.dtype, percentiles) for plane in probe]
    again = True
    while again:
        read = map_ahead(
            lambda box: mix.sums(source.read(mix.channels, box)),
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
    planes = mix.sums(source.read(mix.channels, needed))
    if all((plane == plane.flat[0]).all() for plane in planes):
        return None
    pixels = np.stack([np.asarray(plane, np.float32) for plane in planes])
    scaled = resample(pixels, needed, geometry.image_shape, inside, geometry.network_shape)
    tile = np.zeros((n_inputs, box.height, box.width), np.float32)
    tile[: len(planes), *inside.shifted(-box.y0, -box.x0).slices] = normalisation.apply(scaled)
    return tile
