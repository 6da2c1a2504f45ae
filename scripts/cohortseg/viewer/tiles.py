"""Tiles of a sample, drawn or kept."""

from typing import NamedTuple

from aiohttp import web

from cohortseg.arrays import Box
from cohortseg.viewer.answers import default_channels
from cohortseg.viewer.drawing import draw_channels
from cohortseg.viewer.geometry import Zoom, zoom_of
from cohortseg.viewer.guard import RefusedError
from cohortseg.viewer.kept import Kept
from cohortseg.viewer.queries import colour, shown
from cohortseg.viewer.sessions import Session, Sessions

_KEPT_BYTES = 64 * 2**20


class TileRequest(NamedTuple):
    """Which tile is asked for, and the request with its query."""

    sample: str
    level: int
    column: int
    row: int
    request: web.Request


class Tile(NamedTuple):
    """A picture; `complete` says whether it stays as it is, or levels of its image are still being made."""

    content: bytes
    complete: bool


class Tiles:
    """Draws tiles; several threads may use it at once."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._kept = Kept(_KEPT_BYTES)

    def image(self, wanted: TileRequest) -> Tile:
        """Return a tile of the image as a JPEG; RefusedError where there is none, ImageError where it is damaged."""
        with self._sessions.use(wanted.sample) as session:
            zoom, box = _place(wanted, session)
            looks = shown(wanted.request, len(session.image.source.channels)) or default_channels(session)
            key = ("image", wanted[:4], session.files.state, tuple(looks))
            content = self._kept.get(key)
            if content is not None:
                return Tile(content, complete=True)
            planes, complete = session.image.read(zoom, box, [look.channel for look in looks])
            tile = Tile(draw_channels(planes, looks), complete)
            if complete:
                self._kept.put(key, tile.content)
            return tile

    def outlines(self, wanted: TileRequest) -> Tile:
        """Return a tile of the outlines as a PNG; RefusedError where there is none, TableError where it is damaged."""
        with self._sessions.use(wanted.sample) as session:
            zoom, box = _place(wanted, session)
            ink = colour(wanted.request)
            key = ("outlines", wanted[:4], session.files.state, ink)
            content = self._kept.get(key) or session.files.labels.outlines(zoom, box, ink)
            if content is None:
                raise RefusedError(404, "Outlines this far out need a label image: run `cohortseg poly2mask`.")
            self._kept.put(key, content)
            return Tile(content, complete=True)


def _place(wanted: TileRequest, session: Session) -> tuple[Zoom, Box]:
    zoom = zoom_of(session.files.shape, wanted.level)
    box = None if zoom is None else zoom.tile(wanted.column, wanted.row)
    if zoom is None or box is None:
        raise RefusedError(404, "The image has no such tile.")
    return zoom, box
