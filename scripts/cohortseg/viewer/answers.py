"""What the page is told of a sample and its cells, as JSON."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import shapely

from cohortseg.arrays import Box
from cohortseg.errors import CohortsegError, MissingFileError
from cohortseg.viewer.drawing import Shown
from cohortseg.viewer.geometry import TILE_PX, count_levels
from cohortseg.viewer.sessions import Session

_ONE_COLOUR = ("ffffff",)
_STAINS = ("00e6ff", "ff40d9", "ffd91a", "59ff59", "4d7dff", "ff8c33", "b38cff", "ff5959")
"""The first two are told apart in every common form of colour blindness."""
_RGB = ("ff0000", "00ff00", "0000ff")
_UNITS = {"_px": "px", "_um": "µm", "_px2": "px²", "_um2": "µm²", "_rad": "rad", "_deg": "°"}


def describe(name: str, session: Session) -> dict[str, Any]:
    """Return the facts of a sample; where its image cannot be opened, `problem` says why, and channels are none.

    `image` is the file that is shown, or its URL without what may be secret: results of somebody else may name any.
    """
    files = session.files
    height, width = files.shape
    problem, image, channels, is_rgb = None, None, [], False
    try:
        channels, is_rgb, image = _channels(session), session.image.source.is_rgb, str(session.image.path)
    except CohortsegError as error:
        problem = words_of(error)
    return {
        "sample": name,
        "width": width,
        "height": height,
        "tile_px": TILE_PX,
        "levels": count_levels(files.shape),
        "pixel_size_um": _number(files.metadata.get("pixel_size_um")),
        "is_rgb": is_rgb,
        "channels": channels,
        "columns": [{"name": column, "unit": unit_of(column)} for column in files.columns],
        "n_cells": files.n_cells,
        "has_mask": files.has_mask,
        "has_image": problem is None,
        "image": image,
        "problem": problem,
    }


def default_channels(session: Session) -> list[Shown]:
    """Return how the image is shown before anything is chosen: a colour picture, else the segmented channels."""
    channels = _channels(session)
    wanted = [each for each in channels if each["segmented"]] or channels[:1]
    return [
        Shown(each["index"], each["lower"], each["upper"], colour_of(each["color"].removeprefix("#")))
        for each in (channels if session.image.source.is_rgb else wanted)
    ]


def cell_at(session: Session, y: int, x: int) -> dict[str, Any]:
    """Return what is known of the cell at a pixel, or that there is none."""
    return _cell(session, session.files.labels.at(y, x), Box(y, x, y + 1, x + 1))


def cell_of(session: Session, cell_id: int) -> dict[str, Any]:
    """Return what is known of a cell, or that there is none of that id."""
    row = session.cells.find(cell_id)
    if row is None:
        return _cell(session, 0, None)
    place = [row.get(name) for name in ("centroid_y", "centroid_x")]
    if any(each is None for each in place):
        return _cell(session, cell_id, None)
    # The centroid of a cell may lie beside it, but not beyond its bounds.
    y, x = (int(float(each)) for each in place if each is not None)
    return _cell(session, cell_id, Box(y, x, y + 1, x + 1))


def _cell(session: Session, cell_id: int, box: Box | None) -> dict[str, Any]:
    if cell_id == 0:
        return {"cell_id": None, "values": {}, "bounds": None, "outline": None}
    row = session.cells.find(cell_id) or {}
    rings = [] if box is None else _rings(session, cell_id, box)
    points = [point for ring in rings for point in ring]
    bounds = [*np.min(points, axis=0).tolist(), *np.max(points, axis=0).tolist()] if points else None
    values = {name: plain(row.get(name)) for name in session.files.columns}
    return {"cell_id": cell_id, "values": values, "bounds": bounds, "outline": rings or None}


def _rings(session: Session, cell_id: int, box: Box) -> list[list[list[float]]]:
    """Return the rings, exterior and holes, of all pieces of a cell whose bounds meet a box."""
    for rows in session.files.polygons.read(box):
        for place in np.flatnonzero(rows.cell_ids == cell_id):
            wkb = rows.data[rows.offsets[place] : rows.offsets[place + 1]].tobytes()
            shape = shapely.from_wkb(wkb)
            pieces = [piece for piece in shapely.get_parts(shape) if isinstance(piece, shapely.Polygon)]
            rings = [ring for piece in pieces for ring in (piece.exterior, *piece.interiors)]
            return [[[float(x), float(y)] for x, y in ring.coords] for ring in rings]
    return []


def _channels(session: Session) -> list[dict[str, Any]]:
    source = session.image.source
    limits = {} if source.is_rgb else _segmented(session.files.metadata)
    colours = dict(zip(limits, _ONE_COLOUR if len(limits) == 1 else _STAINS, strict=False))
    others = (colour for colour in _STAINS if colour not in colours.values())
    channels = []
    for index, name in enumerate(source.channels):
        if source.is_rgb:
            most = float(np.iinfo(source.dtype).max) if source.dtype.kind == "u" else 1.0
            low, high, lower, upper = 0.0, most, 0.0, most
            colour = _RGB[index]
        else:
            low, high, lower, upper = session.value_range(index)
            lower, upper = limits.get(index) or (lower, upper)
            colour = colours.get(index) or next(others, _STAINS[index % len(_STAINS)])
        channels.append(
            {
                "index": index,
                "name": name,
                "lower": lower,
                "upper": upper if upper > lower else lower + 1,
                "min": min(0.0, low, lower),
                "max": max(high, upper, lower + 1),
                "color": f"#{colour}",
                "segmented": index in limits or source.is_rgb,
            }
        )
    return channels


def _segmented(metadata: Mapping[str, Any]) -> dict[int, tuple[float, float] | None]:
    """Return the channels that were segmented, with what was dark and bright to the network where it was one channel.

    An input may be made of several channels, of which each may then be brighter or darker than their sum.
    """
    found: dict[int, tuple[float, float] | None] = {}
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # of another program or an older version
        bounds = metadata["normalisation"]
        inputs = metadata.get("inputs") or [{"channels": [index]} for index in metadata["channel_indices"]]
        for each, lower, upper in zip(inputs, bounds["lower"], bounds["upper"], strict=True):
            for channel in each["channels"]:
                alone = len(each["channels"]) == 1 and _number(lower) is not None and _number(upper) is not None
                # The dark end is the greater one where the image was inverted; it is shown as it is.
                limits = (float(min(lower, upper)), float(max(lower, upper))) if alone else None
                found.setdefault(int(channel), limits)
    return found


def colour_of(text: str) -> tuple[int, int, int]:
    """Return the red, green and blue of RRGGBB; ValueError where it is none."""
    if not re.fullmatch("[0-9a-fA-F]{6}", text):
        raise ValueError("a colour is six hexadecimal digits, such as ffcc00")
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def unit_of(column: str) -> str:
    """Return the unit that the name of a column ends in, empty where it names none."""
    return next((unit for ending, unit in _UNITS.items() if column.endswith(ending)), "")


def words_of(error: CohortsegError) -> str:
    """Return what an error says without the folders that it names, and what to do."""
    if isinstance(error, MissingFileError):
        name = _without_folders(error.found).removesuffix(" does not exist")
        return f"{name} is not where it was. Put it back there, then open the sample again."
    return f"{_without_folders(error.found)}. {_without_folders(error.remedy)}"


def _without_folders(text: str) -> str:
    return re.sub(r"(?<![A-Za-z0-9])/(?:[^/\n]*/)+", "", text)


def plain(value: Any) -> Any:
    """Return a value of a table as JSON holds it: numbers that are none as null, what is neither as text."""
    if isinstance(value, bool | int) or value is None:
        return value
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
