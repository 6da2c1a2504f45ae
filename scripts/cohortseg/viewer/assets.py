"""The files of the page, which come with the package."""

from importlib.resources import files
from typing import NamedTuple

INDEX = "index.html"
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".md": "text/plain",
}


class Asset(NamedTuple):
    """A file of the page, and its media type."""

    content: bytes
    media_type: str


def read_assets() -> dict[str, Asset]:
    """Return all files of the page by name: what is not among them cannot be asked for."""
    folder = files("cohortseg.viewer") / "page"
    return {
        each.name: Asset(each.read_bytes(), media_type)
        for each in sorted(folder.iterdir(), key=lambda each: each.name)
        for suffix, media_type in _TYPES.items()
        if each.name.endswith(suffix)
    }
