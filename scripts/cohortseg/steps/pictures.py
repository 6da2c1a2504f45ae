"""What is drawn of an image: the channels that were segmented, as the eye wants them, with the cells' outlines."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cohortseg.arrays import Box, Image, Labels
from cohortseg.kernels.resample import resample, source_box
from cohortseg.report.overlay import Picture, overlay
from cohortseg.segment.inputs import ChannelMix
from cohortseg.stores.channels import ChannelGroup
from cohortseg.stores.source import ImageSource


def shown_channels(source: ImageSource, metadata: Mapping[str, Any]) -> tuple[ChannelMix, list[tuple[float, float]]]:
    """Return what to draw, a colour picture or the network's inputs, and the values that are black and full light."""
    if source.is_rgb:
        full = float(np.iinfo(source.dtype).max) if source.dtype.kind == "u" else 1.0
        colours = tuple(ChannelGroup((i,), "sum", name) for i, name in enumerate(source.channels))
        return ChannelMix(colours), [(0.0, full)] * 3
    return segmented_inputs(metadata), normal_range(metadata)


def segmented_inputs(metadata: Mapping[str, Any]) -> ChannelMix:
    """Return the inputs of the network, as metadata.json says them."""
    groups = (ChannelGroup(tuple(each["channels"]), each["join"], each["name"]) for each in metadata["inputs"])
    return ChannelMix(tuple(groups))


def normal_range(metadata: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the values that became 0 and 1 in each input; twice 0 where the image has no values at all."""
    normalisation = metadata["normalisation"]
    pairs = zip(normalisation["lower"], normalisation["upper"], strict=True)
    return [(0.0, 0.0) if None in pair else pair for pair in pairs]


class Preview:
    """A picture of a whole image with the outlines of its cells, shrunk block by block.

    Parameters
    ----------
    source
        The image.
    metadata
        metadata.json of its segmentation.
    side_px
        The longer side of the picture at most.
    """

    def __init__(self, source: ImageSource, metadata: Mapping[str, Any], side_px: int) -> None:
        self._source_shape, self._is_rgb = source.shape, source.is_rgb
        self._mix, self._limits = shown_channels(source, metadata)
        scale = min(1.0, side_px / max(source.shape))
        self._shape = (max(1, round(source.shape[0] * scale)), max(1, round(source.shape[1] * scale)))
        self._light = np.zeros((len(self._mix.groups), *self._shape), np.float32)
        self._labels = np.zeros(self._shape, np.uint32)
        self._rows, self._columns = (
            (2 * np.arange(small) + 1) * large // (2 * small)
            for small, large in zip(self._shape, source.shape, strict=True)
        )

    def needs(self, block: Box) -> Box:
        """Return the pixels that it takes to draw what is due to a block, which may reach beyond it."""
        target = self._target(block)
        return source_box(target, self._shape, self._source_shape) if target.height and target.width else block

    def add(self, pixels: Image, labels: Labels, held: Box, block: Box) -> None:
        """Draw what is due to a block.

        Parameters
        ----------
        pixels, labels
            (channel, y, x) of all channels, and (y, x), of a box of the image.
        held
            That box; it has the block and what `needs` says.
        block
            One of those that cover the image.
        """
        target = self._target(block)
        if not (target.height and target.width):
            return
        nearest = np.ix_(
            self._rows[target.slices[0]] - held.y0,
            self._columns[target.slices[1]] - held.x0,
        )
        self._labels[target.slices] = labels[nearest]
        needed = self.needs(block)
        part = pixels[:, *needed.shifted(-held.y0, -held.x0).slices]
        planes = np.stack(self._mix.inputs(part[list(self._mix.channels)]))
        self._light[:, *target.slices] = resample(planes, needed, self._source_shape, target, self._shape)

    def draw(self) -> Picture:
        """Return the picture of all blocks, (y, x, 3) uint8."""
        return overlay(self._light, self._labels, limits=self._limits, is_rgb=self._is_rgb)

    def _target(self, block: Box) -> Box:
        """Return the pixels of the picture whose centres are in a block."""
        y0, y1 = np.searchsorted(self._rows, (block.y0, block.y1))
        x0, x1 = np.searchsorted(self._columns, (block.x0, block.x1))
        return Box(int(y0), int(x0), int(y1), int(x1))
