"""Where an image lies: a path of this computer, or a URL."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from cohortseg.settings.fields import is_url


@dataclass(frozen=True)
class RemoteLocation:
    """An image behind a URL (http, https, s3); as text without the password and the query, which may be secret."""

    url: str

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self._path.name

    @property
    def suffix(self) -> str:
        """Suffix of the name, with its dot."""
        return self._path.suffix

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(urlsplit(self.url).path.rstrip("/") or urlsplit(self.url).netloc)

    def __str__(self) -> str:
        scheme, netloc, path, _, _ = urlsplit(self.url)
        return urlunsplit((scheme, netloc.rpartition("@")[2], path, "", ""))

    def __repr__(self) -> str:
        return f"RemoteLocation({str(self)!r})"


Location = Path | RemoteLocation


def image_location(text: str | Path) -> Location:
    """Return where the image that a text names lies."""
    return RemoteLocation(str(text)) if is_url(str(text)) else Path(text)
