"""What requests may ask for, checked."""

import json
import math
import re
from typing import Any

from aiohttp import web

from cohortseg.stores.flags import FLAGS
from cohortseg.viewer.answers import colour_of
from cohortseg.viewer.drawing import Colour, Shown
from cohortseg.viewer.guard import RefusedError

MOST_CHANNELS = 16
"""Shown at once."""
MOST_BODY_BYTES = 16 * 2**10
_MOST_DIGITS = 10
_MOST_PX = 2**31


def whole(text: str, what: str) -> int:
    """Return a whole number that is not negative; RefusedError for anything else."""
    if not re.fullmatch(f"[0-9]{{1,{_MOST_DIGITS}}}", text):
        raise RefusedError(400, f"{what} is no whole number.")
    return int(text)


def pixel(request: web.Request, name: str) -> int:
    """Return the pixel that a coordinate of the query lies in."""
    value = _number(request.query.get(name, ""), name)
    if abs(value) > _MOST_PX:
        raise RefusedError(400, f"{name} is too large.")
    return math.floor(value)


def colour(request: web.Request) -> Colour:
    """Return the query's colour, yellow where it names none."""
    return _colour(request.query.get("color", "ffd21f"))


def shown(request: web.Request, n_channels: int) -> list[Shown] | None:
    """Return how the query wants the channels, INDEX:LOWER:UPPER:RRGGBB each; None where it does not say."""
    texts = request.query.getall("c", [])
    if len(texts) > MOST_CHANNELS:
        raise RefusedError(400, f"At most {MOST_CHANNELS} channels are shown at once.")
    found = []
    for text in texts:
        parts = text.split(":")
        if len(parts) != 4:
            raise RefusedError(400, "A channel is INDEX:LOWER:UPPER:RRGGBB.")
        channel = whole(parts[0], "The index of a channel")
        if channel >= n_channels:
            raise RefusedError(404, f"There is no channel {channel}.")
        lower, upper = _number(parts[1], "A limit"), _number(parts[2], "A limit")
        found.append(Shown(channel, lower, upper, _colour(parts[3])))
    return found or None


def parse_flag(body: bytes) -> dict[str, Any]:
    """Return cell_id, flag, x_px, y_px and note of a request to flag a cell."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "The request is no JSON.") from error
    if not isinstance(content, dict):
        raise RefusedError(400, "The request is no JSON object.")
    cell_id, flag, note = content.get("cell_id"), content.get("flag"), content.get("note", "")
    if not isinstance(cell_id, int) or isinstance(cell_id, bool) or not 0 < cell_id < 2**32:
        raise RefusedError(400, "cell_id is no cell.")
    if flag not in FLAGS:
        raise RefusedError(400, f"flag is none of {', '.join(FLAGS)}.")
    if note is not None and not isinstance(note, str):
        raise RefusedError(400, "note is no text.")
    x_px, y_px = (_place(content.get(name), name) for name in ("x", "y"))
    return {"cell_id": cell_id, "flag": flag, "x_px": x_px, "y_px": y_px, "note": note or ""}


def _place(value: Any, name: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -_MOST_PX <= value <= _MOST_PX:  # false for NaN, too
        raise RefusedError(400, f"{name} is no place in the image.")
    return float(value)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RefusedError(400, f"{what} is no number.")
    return value


def _colour(text: str) -> Colour:
    try:
        return colour_of(text)
    except ValueError as error:
        raise RefusedError(400, f"{str(error).capitalize()}.") from error
