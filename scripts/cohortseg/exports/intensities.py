"""Which measurements are intensities, and of which channel: tables of cells as matrices."""

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.exports.cells import Kind

_MOMENT = re.compile(r"(mean|median|sum|std|min|max)_(.+)")
_PERCENTILE = re.compile(r"(p\d+)_(.+)")
_BACKGROUND = re.compile(r"(background)_(.+)")
_FRACTION = re.compile(r"(\d+)_(.+)")
_COMPARTMENTS = ("nucleus", "cytoplasm", "ring")
# not mean_um or mean_rad51, which are of channels
_WITH_UNIT = re.compile(r"[^_]+_.+_(px|um|rad)2?")
MEAN = "mean"


@dataclass(frozen=True)
class Layout:
    """How the columns of a table of cells become an annotated matrix.

    Attributes
    ----------
    channels
        Names of the channels, in the order of the table.
    layers
        What was measured of them: `mean`, `p5`, `mean_nucleus` and so on; the mean first, where it was measured.
    places
        The column of each (layer, channel) that there is.
    others
        Names and types of all other columns.
    """

    channels: tuple[str, ...]
    layers: tuple[str, ...]
    places: Mapping[tuple[str, str], str]
    others: Mapping[str, Kind]

    def matrix(self, layer: str, table: pd.DataFrame, channels: Iterable[str]) -> NDArray[np.float32]:
        """Return (cell, channel) values of a layer for these channels; NaN of what was not measured."""
        columns = [self.places.get((layer, channel)) for channel in channels]
        found = np.full((len(table), len(columns)), np.nan, np.float32)
        for i, column in enumerate(columns):
            if column is not None:
                found[:, i] = table[column].to_numpy(np.float64, na_value=np.nan)
        return found


def layout_of(columns: Mapping[str, Kind]) -> Layout:
    """Return which columns are intensities, by their names.

    An intensity is `<statistic>_<channel>` or `<statistic>_<compartment>_<channel>`, of numbers, and does not end in a
    unit as `max_feret_px` would. `mean_nucleus_A` is of a compartment where there is a channel A, else of a channel
    that is called nucleus_A; `p2_5_A` is the percentile 2.5 of A, but the percentile 2 of 5_A where there is such a
    channel and none called A. `background_A` is a layer of A where there is a channel A.
    """
    numbers = [name for name, kind in columns.items() if kind.kind != "O" and not _WITH_UNIT.fullmatch(name)]
    named = {found[2] for name in numbers if (found := _MOMENT.fullmatch(name))} or _of_percentiles(numbers)
    places: dict[tuple[str, str], str] = {}
    for name in numbers:
        parted = _parted(name, named)
        if parted is not None:
            places[parted] = name
    layers = dict.fromkeys(layer for layer, _ in places)
    first = [MEAN] if MEAN in layers else []
    return Layout(
        channels=tuple(dict.fromkeys(channel for _, channel in places)),
        layers=tuple(dict.fromkeys([*first, *layers])),
        places=places,
        others={name: kind for name, kind in columns.items() if name not in places.values()},
    )


def _of_percentiles(names: Iterable[str]) -> set[str]:
    """Return what may be channels, of columns of percentiles alone: A and 5_A of p2_5_A."""
    rests = [found[2] for name in names if (found := _PERCENTILE.fullmatch(name))]
    return {*rests, *(found[2] for rest in rests if (found := _FRACTION.fullmatch(rest)))}


def _parted(name: str, named: Container[str]) -> tuple[str, str] | None:
    """Return layer and channel of a column; None where it is no intensity."""
    background = _BACKGROUND.fullmatch(name)
    if background and background[2] in named:
        return background[1], background[2]
    moment, percentile = _MOMENT.fullmatch(name), _PERCENTILE.fullmatch(name)
    found = moment or percentile
    if found is None:
        return None
    statistic, rest = found[1], found[2]
    fraction = _FRACTION.fullmatch(rest) if percentile else None
    if fraction and (rest not in named or _of_compartment(fraction[2], named)[1] in named):
        statistic, rest = f"{statistic}_{fraction[1]}", fraction[2]
    compartment, channel = _of_compartment(rest, named)
    return (f"{statistic}_{compartment}" if compartment else statistic), channel


def _of_compartment(rest: str, named: Container[str]) -> tuple[str, str]:
    """Return compartment, or nothing, and channel."""
    compartment, _, channel = rest.partition("_")
    return (compartment, channel) if compartment in _COMPARTMENTS and channel in named else ("", rest)


def joined(layouts: Iterable[Layout]) -> Layout:
    """Return the channels, layers and other columns of several tables together; `places` are left empty.

    A column of several types, or that a table lacks, is of floating-point numbers, of whole numbers where all are
    whole, with missing ones, or of text where one is.
    """
    each = list(layouts)
    names = dict.fromkeys(name for layout in each for name in layout.others)
    layers = dict.fromkeys(layer for layout in each for layer in layout.layers)
    first = [MEAN] if MEAN in layers else []
    return Layout(
        channels=tuple(dict.fromkeys(channel for layout in each for channel in layout.channels)),
        layers=tuple(dict.fromkeys([*first, *layers])),
        places={},
        others={name: _common([layout.others.get(name) for layout in each]) for name in names},
    )


def _common(kinds: list[Kind | None]) -> Kind:
    found = set(kinds)
    if len(found) == 1 and None not in found:
        return next(kind for kind in kinds if kind is not None)
    if found <= {np.dtype(np.int64), pd.Int64Dtype(), None}:
        return pd.Int64Dtype()
    return np.dtype(object) if np.dtype(object) in found else np.dtype(np.float64)
