"""How far the channels of an image lie from the one that was segmented."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from cohortseg.arrays import Box

PATCH_PX = 256
MOST_PATCHES = 64

# Structure between these widths is compared: wider than a pixel's noise, and as outlines are rather than cells, whose
# regular distances would give peaks of their own.
_FINE_PX, _COARSE_PX = 1.0, 4.0
# Frequencies over which the power of a channel is smoothed before it is evened out.
_SMOOTHED = 6.0
_LEAST_POWER = 1e-6
_FARTHEST_PX = 64
# A peak counts where it is so many standard deviations of what is farther from it high: noise comes to 6.
_LEAST_PROMINENCE = 8.0
_NEAR_PX = 12


class Shift(NamedTuple):
    """Where a channel lies: (y, x) in pixels below and right of the segmented one, and how well they agree there.

    `confidence` is the absolute correlation of the two, 0 to 1; both are None where the channels share no structure.
    """

    shift_px: tuple[float, float] | None
    confidence: float | None


class Shifts:
    """Cross-correlations of channels with a reference, summed over patches; a megabyte a channel.

    Patches of `PATCH_PX` are windowed (Hann) and band-passed, and each counts the same, whatever its brightness. Before
    the peak is looked for, the spectrum is evened out by half (the square root of what phase correlation does, Kuglin
    and Hines 1975), so that peaks are narrow, and noise does not count as much as signal. Where a channel is bright the
    other may be dark, as nuclei in cytoplasm are: the peak is that of the absolute correlation. It need not lie at the
    shift: nuclei agree best with the membranes around them on a ring about it. So the shift is the point about which
    the correlation is symmetric, as it is where cells have no common direction.

    Parameters
    ----------
    n_channels
        Channels of the image.
    reference
        The one that they are compared with.
    """

    def __init__(self, n_channels: int, reference: int) -> None:
        self._reference = reference
        shape = (n_channels, PATCH_PX, PATCH_PX // 2 + 1)
        self._products: NDArray[np.complex128] = np.zeros(shape, np.complex128)
        self._powers: NDArray[np.float64] = np.zeros((2, *shape))  # of the reference and of the channel
        self._band = _band()

    def add(self, patch: NDArray[np.float32]) -> None:
        """Add a patch, (channel, y, x) of at most `PATCH_PX` each way; left out where values are not finite."""
        if not np.isfinite(patch).all():
            return
        height, width = patch.shape[1:]
        window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
        centred = (patch - patch.mean(axis=(1, 2), keepdims=True)) * window
        spectra = fft.rfft2(centred, (PATCH_PX, PATCH_PX)) * self._band
        norms = np.sqrt((np.abs(spectra) ** 2).sum(axis=(1, 2)))
        if not norms[self._reference] > 0:
            return
        reference = spectra[self._reference] / norms[self._reference]
        for channel in np.flatnonzero(norms > 0).tolist():
            own = spectra[channel] / norms[channel]
            self._products[channel] += np.conj(reference) * own
            self._powers[:, channel] += np.abs(reference) ** 2, np.abs(own) ** 2

    def result(self, channel: int) -> Shift:
        """Return where a channel lies; the reference itself, and one without structure in common, has no shift."""
        if channel == self._reference or not self._powers[1, channel].any():
            return Shift(None, None)
        surface = self._correlation(channel)
        middle, reach = PATCH_PX // 2, min(_FARTHEST_PX, PATCH_PX // 2 - 2)
        searched = surface[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
        y, x = map(int, np.unravel_index(int(np.argmax(np.abs(searched))), searched.shape))
        far = np.ones(searched.shape, np.bool_)
        far[max(0, y - _NEAR_PX) : y + _NEAR_PX + 1, max(0, x - _NEAR_PX) : x + _NEAR_PX + 1] = False
        peak = float(abs(searched[y, x]))
        if not peak > _LEAST_PROMINENCE * float(searched[far].std()):
            return Shift(None, None)
        dy, dx = _centre(surface, (y + middle - reach, x + middle - reach))
        return Shift((dy - middle, dx - middle), min(1.0, peak))

    def _correlation(self, channel: int) -> NDArray[np.float64]:
        """Return the correlation by shift, 0 in the middle; 1 or -1 is as high as it can be."""
        powers = gaussian_filter(
            self._powers[:, channel], (0, _SMOOTHED, _SMOOTHED), mode=("nearest", "wrap", "nearest")
        )
        common = np.sqrt(powers[0] * powers[1])
        weights = 1 / np.sqrt(np.maximum(common, _LEAST_POWER * common.max()))
        highest = fft.irfft2(np.sqrt(self._powers[0, channel] * self._powers[1, channel]) * weights)[0, 0]
        surface: NDArray[np.float64] = fft.fftshift(fft.irfft2(self._products[channel] * weights)) / highest
        return surface


def patches_of(box: Box, labelled: NDArray[np.bool_], most: int) -> Iterator[Box]:
    """Yield at most `most` patches of a block that meet cells, those with the most first; of equal ones the first.

    Parameters
    ----------
    box
        The block, in pixels of the image.
    labelled
        (y, x) of its shape: the pixels in cells.
    """
    height, width = labelled.shape
    found = []
    for y in range(0, max(1, height - PATCH_PX // 2), PATCH_PX):
        for x in range(0, max(1, width - PATCH_PX // 2), PATCH_PX):
            part = labelled[y : y + PATCH_PX, x : x + PATCH_PX]
            covered = int(part.sum())
            if covered:
                found.append((-covered, y, x, part.shape))
    for _, y, x, (patch_height, patch_width) in sorted(found)[:most]:
        yield Box(box.y0 + y, box.x0 + x, box.y0 + y + patch_height, box.x0 + x + patch_width)


def _band() -> NDArray[np.float64]:
    """Return the band-pass filter of a patch: a difference of Gaussians, by frequency."""
    y, x = np.fft.fftfreq(PATCH_PX)[:, None], np.fft.rfftfreq(PATCH_PX)[None]
    square = -2 * np.pi**2 * (y**2 + x**2)
    band: NDArray[np.float64] = np.exp(square * _FINE_PX**2) - np.exp(square * _COARSE_PX**2)
    return band


def _centre(surface: NDArray[np.float64], peak: tuple[int, int]) -> tuple[float, float]:
    """Return the (y, x) about which a surface is most symmetric under half a turn, near a peak.

    The sum over d of surface(c + d) * surface(c - d) is the surface's convolution with itself at 2 c.
    """
    y, x = peak
    near = surface[y - _NEAR_PX : y + _NEAR_PX + 1, x - _NEAR_PX : x + _NEAR_PX + 1]
    window = np.hanning(2 * _NEAR_PX + 3)[1:-1]
    size = 4 * _NEAR_PX + 1
    twice = fft.irfft2(fft.rfft2(near * np.outer(window, window), (size, size)) ** 2, (size, size))
    place = int(np.argmax(twice)) // size, int(np.argmax(twice)) % size
    centre_y, centre_x = ((place[axis] + _vertex(twice, place, axis)) / 2 for axis in (0, 1))
    return y - _NEAR_PX + centre_y, x - _NEAR_PX + centre_x


def _vertex(surface: NDArray[np.float64], place: tuple[int, int], axis: int) -> float:
    """Return where the parabola through a peak and its neighbours along an axis is highest, beside the peak."""
    before, after = list(place), list(place)
    before[axis] -= 1
    after[axis] += 1
    low, top, high = float(surface[tuple(before)]), float(surface[place]), float(surface[tuple(after)])
    bend = low - 2 * top + high
    return 0.5 * (low - high) / bend if bend < 0 else 0.0
