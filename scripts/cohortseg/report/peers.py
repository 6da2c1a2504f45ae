"""Values beside those of their peers, and the channels of a cohort beside one another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cohortseg.report.results import SampleResult
from cohortseg.settings import QcSettings


def unlike(
    values: NDArray[np.float64], kinds: NDArray[np.str_], qc: QcSettings, *, least: float, log: bool
) -> Iterator[tuple[int, float]]:
    """Yield the places of values that are unlike those of their kind, each with the kind's median.

    By the modified z-score of Iglewicz and Hoaglin ("How to detect and handle outliers", ASQC 1993): 0.6745 times the
    distance to the median over the median distance, beyond `qc.far`; where that is 0, any distance is beyond.

    Parameters
    ----------
    values, kinds
        (n,) each; NaN, and with `log` what is not positive, is no peer of any.
    least
        Distances up to this are never far: of the values, or with `log` of their base-2 logarithms.
    log
        Compare ratios rather than differences.
    """
    known = np.isfinite(values) & ((values > 0) | (not log))
    for kind in np.unique(kinds):
        peers = np.flatnonzero((kinds == kind) & known)
        if peers.size < qc.min_peers:
            continue
        compared = np.log2(values[peers]) if log else values[peers]
        centre = float(np.median(compared))
        away = np.abs(compared - centre)
        far = (0.6745 * away > qc.far * np.median(away)) & (away >= least)
        for place in peers[far].tolist():
            yield place, float(2**centre) if log else centre


# Noise that hides the focus of a channel is told where the focus of so many of its peers is known.
_MOST_KNOWN = 0.9


@dataclass(frozen=True)
class ChannelPeers:
    """The channels of all samples that are done, (n,) each: of which sample, of what kind, and what is known of them.

    Channels of one kind are of one modality and have one name, in any case.
    """

    rows: NDArray[np.int64]
    names: tuple[str, ...]
    kinds: NDArray[np.str_]
    saturation: NDArray[np.float64]
    """Share of the pixels in cells; NaN without cells, also below."""
    sharpness: NDArray[np.float64]
    n_cells: NDArray[np.int64]
    """Of the sample where the channel was segmented; 0 where it was not, as it may be dark where its marker is not."""
    shifts_px: NDArray[np.float64]
    """(n, 2) in y and x; NaN where not known."""

    @classmethod
    def of(cls, samples: Sequence[SampleResult]) -> Self:
        """Return the channels of samples, those without quality.json apart."""
        found = [
            (row, channel, f"{sample.modality}\t{str(channel['name']).casefold()}", sample.quality["n_cells"])
            for row, sample in enumerate(samples)
            if sample.quality is not None
            for channel in sample.quality["channels"]
        ]
        channels = [channel for _, channel, _, _ in found]
        shifts = [channel["shift_px"] or (np.nan, np.nan) for channel in channels]
        return cls(
            rows=np.array([row for row, _, _, _ in found], np.int64),
            names=tuple(_on_one_line(str(channel["name"])) for channel in channels),
            kinds=np.array([kind for _, _, kind, _ in found], np.str_),
            saturation=_numbers([channel["saturated_in_cells"] for channel in channels]),
            sharpness=_numbers([channel["sharpness"] for channel in channels]),
            n_cells=np.array([n_cells * channel["segmented"] for _, channel, _, n_cells in found], np.int64),
            shifts_px=np.array(shifts, np.float64).reshape(-1, 2),
        )

    def saturated(self, qc: QcSettings) -> Iterator[tuple[int, str, float]]:
        """Yield the row, channel and share of channels of which too much is at the top of the range."""
        for i in np.flatnonzero(self.saturation > qc.saturated_share).tolist():
            yield int(self.rows[i]), self.names[i], float(self.saturation[i])

    def blurred(self, qc: QcSettings) -> Iterator[tuple[int, str, float]]:
        """Yield the row and channel of channels that are less sharp than their peers, and how many times."""
        for i, usual in unlike(self.sharpness, self.kinds, qc, least=float(np.log2(qc.blur)), log=True):
            if self.sharpness[i] < usual:
                yield int(self.rows[i]), self.names[i], float(usual / self.sharpness[i])

    def too_faint(self, qc: QcSettings) -> Iterator[tuple[int, str]]:
        """Yield the row and channel of segmented channels whose focus noise hides, though not that of their peers."""
        judged, known = self.n_cells >= qc.min_cells, np.isfinite(self.sharpness)
        for i in np.flatnonzero(judged & ~known).tolist():
            peers = known[judged & (self.kinds == self.kinds[i])]
            if peers.sum() >= max(qc.min_peers, _MOST_KNOWN * (peers.size - 1)):
                yield int(self.rows[i]), self.names[i]

    def shifted(self, qc: QcSettings) -> Iterator[tuple[int, str, tuple[float, float], tuple[float, float]]]:
        """Yield the row, channel, shift and usual shift in y and x of channels that lie elsewhere than their peers."""
        known = np.isfinite(self.shifts_px).all(axis=1)
        for kind in np.unique(self.kinds):
            peers = np.flatnonzero((self.kinds == kind) & known)
            if peers.size < qc.min_peers:
                continue
            shifts = self.shifts_px[peers]
            usual = np.median(shifts, axis=0)
            away = np.hypot(*(shifts - usual).T)
            far = (0.6745 * away > qc.far * np.median(away)) & (away > qc.shift_px)
            for i in peers[far].tolist():
                here = float(self.shifts_px[i, 0]), float(self.shifts_px[i, 1])
                yield int(self.rows[i]), self.names[i], here, (float(usual[0]), float(usual[1]))


def _on_one_line(name: str) -> str:
    """Return a name as it may stand in a table of lines and tabs."""
    return "".join(letter if letter.isprintable() else " " for letter in name)


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)
