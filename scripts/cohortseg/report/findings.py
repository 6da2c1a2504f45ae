"""What in a cohort deserves a look: samples without cells, unlike their peers, or at odds with their truth."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohortseg.report.peers import ChannelPeers, unlike
from cohortseg.report.results import SampleResult
from cohortseg.settings import QcSettings


class Finding(NamedTuple):
    """One thing that looks wrong: how much it should worry (larger is worse) and what it is."""

    weight: float
    text: str


def rules_in_words(qc: QcSettings) -> tuple[str, ...]:
    """Return the rules in words, for the report."""
    unlike_peers = (
        f"and their modified z-score is beyond {qc.far:g} (among at least {qc.min_peers} samples of the same modality "
        "with cells)"
    )
    return (
        "no cells were found",
        f"cells per area, median diameter or median flow error differ {qc.fold:g}-fold or more from the median, or the "
        f"median score is lower by {qc.score_drop:g} or more, {unlike_peers}",
        f"a channel is {qc.blur:g} times less sharp than in its peers, {unlike_peers}",
        "noise hides the focus of a segmented channel, though not that of nine in ten of its peers (among at least "
        f"{qc.min_peers} whose focus is known, with at least {qc.min_cells} cells each)",
        f"more than {qc.saturated_share:.1%} of a channel's pixels in cells are at the top of the range",
        f"a channel lies more than {qc.shift_px:g} px farther from the segmented one than in its peers, {unlike_peers}",
        f"its range of intensities is more than {2**qc.drift:.3g} times wider or narrower than the cohort's",
        f"more than {qc.suspicious_tiles} tiles have signal, and neighbours with cells, but none of their own",
        f"more than {qc.edge_share:.0%} of at least {qc.min_cells} cells touch the image's edge",
        f"average precision at IoU 0.5 is below {qc.poor_ap50:g}",
        "cells are larger than the tiles see around them, so their outlines may be incomplete",
        "the seam audit failed: along borders of tiles, outlines run straighter, or cells are fewer or more, than "
        "beside them, or a tile among full ones is empty",
    )


def find_problems(measures: pd.DataFrame, samples: Sequence[SampleResult], qc: QcSettings) -> list[tuple[Finding, ...]]:
    """Return what looks wrong with each row of a summary's measures, the worst first; `samples` are the same rows.

    A value is an outlier among its peers, the samples of its modality that have cells (of channels: that have a channel
    of this name), where it is beyond `qc.far` by the modified z-score of `report.peers`; and only if it is also far
    from the median by a factor, or a difference, that matters, so that a very even cohort does not cry wolf.
    """
    found: list[list[Finding]] = [_intrinsic(row, qc) for _, row in measures.iterrows()]
    for by_row in (_unlike_in_cells(measures, qc), _unlike_in_channels(samples, qc)):
        for here, more in zip(found, by_row, strict=True):
            here.extend(more)
    return [tuple(sorted(here, reverse=True)) for here in found]


def _intrinsic(row: pd.Series, qc: QcSettings) -> list[Finding]:
    """Return what looks wrong with a sample by itself; what is not known is not wrong."""
    found = []
    n_cells = 0 if pd.isna(row["n_cells"]) else int(row["n_cells"])
    if n_cells == 0 and not pd.isna(row["n_cells"]):
        found.append(Finding(100, "no cells were found"))
    if n_cells >= qc.min_cells and row["edge_share"] > qc.edge_share:
        found.append(Finding(2, f"{row['edge_share']:.0%} of the cells touch the edge"))
    if row["cells_cut"] > 0:
        cut = row["cells_cut"]
        what = f"{cut} cell{'s' if cut > 1 else ''} larger than the tiles see around them"
        found.append(Finding(5, f"{what}; set a larger diameter or overlap_margin"))
    if row["ap50"] < qc.poor_ap50:
        found.append(Finding(6, f"agrees poorly with its ground truth: AP@0.5 {row['ap50']:.2f}"))
    if row["seam_audit"] == "failed":
        found.append(
            Finding(20, "borders of tiles left marks on its cells: metadata.json says where, under seam_audit")
        )
    if abs(row["intensity_drift"]) > qc.drift:
        drift = row["intensity_drift"]
        wider = "wider" if drift > 0 else "narrower"
        found.append(Finding(3, f"its range of intensities is {2 ** abs(drift):.3g} times {wider} than the cohort's"))
    tiles = row["suspicious_tiles"]
    if not pd.isna(tiles) and tiles > qc.suspicious_tiles:
        what = "1 tile has signal" if tiles == 1 else f"{tiles} tiles have signal"
        found.append(Finding(7 + float(np.log2(tiles)), f"{what} and neighbours with cells, but no cells"))
    return found


def _unlike_in_cells(measures: pd.DataFrame, qc: QcSettings) -> list[list[Finding]]:
    """Return for each row how its cells are unlike those of its peers."""
    found: list[list[Finding]] = [[] for _ in range(len(measures))]
    modality = measures["modality"].to_numpy(str)
    enough = measures["n_cells"].fillna(0).to_numpy(int) >= qc.min_cells
    columns = ("cells_per_mpx", "median_diameter_px", "flow_error_median", "score_median")
    density, width, error, score = (measures[name].to_numpy(float) for name in columns)
    fold = float(np.log2(qc.fold))
    for row, usual in unlike(density, modality, qc, least=fold, log=True):
        more = "more" if density[row] > usual else "fewer"
        text = f"far {more} cells than its peers: {_plain(density[row])} per Mpx, median {_plain(usual)}"
        found[row].append(Finding(4 + _octaves(density[row], usual), text))
    for row, usual in unlike(width, modality, qc, least=fold, log=True):
        larger = "larger" if width[row] > usual else "smaller"
        sizes = f"median diameter {_plain(width[row])} px, usually {_plain(usual)} px"
        text = f"cells much {larger} than in its peers: {sizes}"
        found[row].append(Finding(3 + _octaves(width[row], usual), text))
    for row, usual in unlike(np.where(enough, error, np.nan), modality, qc, least=fold, log=True):
        if error[row] > usual:
            errors = f"median flow error {_plain(error[row])}, usually {_plain(usual)}"
            text = f"outlines agree worse with the network's flows than in its peers: {errors}"
            found[row].append(Finding(3 + _octaves(error[row], usual), text))
    for row, usual in unlike(np.where(enough, score, np.nan), modality, qc, least=qc.score_drop, log=False):
        if score[row] < usual:
            scores = f"median score {score[row]:.2g}, usually {usual:.2g}"
            text = f"the network is less sure of its cells than in its peers: {scores}"
            found[row].append(Finding(3 + float(usual - score[row]) / qc.score_drop, text))
    return found


def _unlike_in_channels(samples: Sequence[SampleResult], qc: QcSettings) -> list[list[Finding]]:
    """Return for each sample what is wrong with its channels, by themselves and beside those of its peers."""
    found: list[list[Finding]] = [[] for _ in samples]
    peers = ChannelPeers.of(samples)
    for row, channels, share in _joined(peers.saturated(qc)):
        text = f"{channels} saturated: up to {share:.1%} of the pixels in cells are at the top of the range"
        found[row].append(Finding(8 + share, text))
    for row, channels, times in _joined(peers.blurred(qc)):
        text = f"{channels} blurred: up to {times:.1f} times less sharp than in its peers"
        found[row].append(Finding(9 + float(np.log2(times)), text))
    for row, channel in peers.too_faint(qc):
        text = f"channel {channel} has too little signal beside its noise to judge its focus, unlike its peers"
        found[row].append(Finding(6, text))
    for row, channel, away, usual in peers.shifted(qc):
        where = f"by {away[0]:+.1f} px in y, {away[1]:+.1f} px in x"
        common = f", usually {usual[0]:+.1f}, {usual[1]:+.1f}" if np.hypot(*usual) >= 0.5 else ""
        text = f"channel {channel} is shifted beside the segmented one {where}{common}"
        found[row].append(Finding(10 + float(np.log2(1 + np.hypot(*away))), text))
    return found


def _joined(found: Iterable[tuple[int, str, float]]) -> Iterator[tuple[int, str, float]]:
    """Yield for each row what names its channels, "channel A is" or "channels A, B are", and the largest value."""
    by_row: dict[int, list[tuple[str, float]]] = {}
    for row, channel, value in found:
        by_row.setdefault(row, []).append((channel, value))
    for row, values in by_row.items():
        names = ", ".join(channel for channel, _ in values)
        yield row, f"channel {names} is" if len(values) == 1 else f"channels {names} are", max(v for _, v in values)


def _octaves(value: float, usual: float) -> float:
    return float(abs(np.log2(value / usual)))


def _plain(value: float) -> str:
    """Return a number to about three digits, never in powers of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
