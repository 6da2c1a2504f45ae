"""The channels of an image, block by block: saturation, sharpness, medians, and how far they lie from one another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Image, Labels
from cohortseg.quality.focus import RIM_PX, Sharpness, near_cells
from cohortseg.quality.shifts import MOST_PATCHES, Shifts, patches_of
from cohortseg.quality.values import ValueCounts

_MOST_BLOCKS = 64


@dataclass(frozen=True)
class Segmented:
    """Which channels of an image were segmented.

    Parameters
    ----------
    names
        Of all channels of the image.
    indices
        The channels that were segmented; the others are registered against the first of them.
    """

    names: Sequence[str]
    indices: Sequence[int]


class ChannelQuality:
    """Sums over the blocks of an image, about two megabytes a channel, whatever its size.

    Blocks come with a rim of `rim_px`, as far as the image goes, and are added once each. All of them are counted; how
    sharp and how shifted the channels are is told by at most about 64 of those with cells, evenly spread, so that
    it takes no longer in a large image.

    Parameters
    ----------
    segmented
        The channels.
    dtype
        Of the pixels.
    n_blocks
        How many blocks with cells there will be, about.
    """

    rim_px = RIM_PX

    def __init__(self, segmented: Segmented, dtype: np.dtype[np.generic], n_blocks: int) -> None:
        self._segmented = segmented
        self._values = [ValueCounts(dtype) for _ in segmented.names]
        self._sharpness = [Sharpness() for _ in segmented.names]
        self._shifts = Shifts(len(segmented.names), segmented.indices[0]) if len(segmented.names) > 1 else None
        # Evenly spread over the image: some patches of every block, or one of every few blocks.
        self._every = max(1, -(-n_blocks // _MOST_BLOCKS))
        self._patches_a_block = -(-MOST_PATCHES // max(1, n_blocks))
        self._n_with_cells = 0

    def add(self, pixels: Image, labels: Labels, held: Box, inner: Box) -> None:
        """Add a block.

        Parameters
        ----------
        pixels, labels
            (channel, y, x) and (y, x), of a box of the image.
        held, inner
            That box, and the one in it to add, in pixels of the image.
        """
        here = inner.shifted(-held.y0, -held.x0)
        own = np.ascontiguousarray(labels[here.slices])
        for channel, plane in enumerate(pixels):
            self._values[channel].add(plane[here.slices], own)
        if not own.any():
            return
        if self._n_with_cells % self._every == 0:
            self._look_closer(pixels, near_cells(labels), own > 0, here)
        self._n_with_cells += 1

    def _look_closer(self, pixels: Image, near: NDArray[np.bool_], inside: NDArray[np.bool_], here: Box) -> None:
        """Add what tells of sharpness and shifts: `near` has the rim of the pixels, `inside` is of the block itself."""
        for channel, plane in enumerate(pixels):
            self._sharpness[channel].add(plane.astype(np.float32), near, here)
        if self._shifts is not None:
            for patch in patches_of(here, inside, self._patches_a_block):
                self._shifts.add(pixels[:, *patch.slices].astype(np.float32))

    def result(self) -> list[dict[str, Any]]:
        """Return what quality.json says of each channel, in the order of the image's."""
        return [self._describe(channel, name) for channel, name in enumerate(self._segmented.names)]

    def _describe(self, channel: int, name: str) -> dict[str, Any]:
        values = self._values[channel].result()
        shift = self._shifts.result(channel) if self._shifts is not None else None
        return {
            "name": name,
            "segmented": channel in self._segmented.indices,
            "saturated_share": values["saturated_share"],
            "saturated_in_cells": values["saturated_in_cells"],
            "zero_share": values["zero_share"],
            "sharpness": self._sharpness[channel].result(),
            "median_in_cells": values["median_in_cells"],
            "median_outside": values["median_outside"],
            "shift_px": shift and shift.shift_px and list(shift.shift_px),
            "shift_confidence": shift and shift.confidence,
        }
