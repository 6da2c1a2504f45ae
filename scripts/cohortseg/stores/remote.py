"""Bytes behind URLs, by fsspec: only the ranges asked for, tried again where a connection drops."""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores.location import RemoteLocation

TRIES = 5
"""How often a read is tried before it fails."""

FIRST_PAUSE_S = 0.25
"""Pause before the second try; each further one is twice as long."""

SILENCE_S = 30.0
"""A connection that gives no byte for so long has dropped."""

Result = TypeVar("Result")

_LOGGER = logging.getLogger("cohortseg")
_NOT_FOUND = 404
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


class RemoteFiles:
    """The file behind a URL, or the files below it; methods may be called from several threads.

    S3 takes its credentials, endpoint and the like from the environment and from fsspec's own configuration
    (`FSSPEC_S3_ANON=true` reads public buckets).

    Raises
    ------
    MissingExtraError
        fsspec, or what it needs for this kind of URL, is not installed.
    """

    def __init__(self, location: RemoteLocation) -> None:
        self.location = location
        try:
            from fsspec.core import url_to_fs

            self._fs, self._root = url_to_fs(location.url, **_options(location.url))
        except ImportError as error:
            raise MissingExtraError(
                f"{location} cannot be read: {error}",
                "expected fsspec, with aiohttp for http and s3fs for s3",
                "Install them: pip install 'cohortseg[remote]'.",
            ) from error

    def size(self) -> int:
        """Return the size of the file in bytes; FileNotFoundError where there is none."""
        size = self._tried(lambda: self._fs.info(self._root)["size"])
        if not isinstance(size, int):
            raise ImageError(
                f"{self.location}: the server does not tell the file's size",
                "expected one that serves ranges of files",
                "Copy the image to this computer, or put it on an object store.",
            )
        return size

    def read(self, key: str = "", start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of a file from `start` to `end`, as a slice of them; FileNotFoundError where there is none.

        Raises
        ------
        ImageError
            The server cannot be reached, refuses, or gives more than the range, after TRIES tries.
        """
        path = f"{self._root.rstrip('/')}/{key}" if key else self._root
        content = bytes(self._tried(lambda: self._fs.cat_file(path, start=start, end=end)))
        if start is not None and end is not None and len(content) > end - start:
            raise ImageError(
                f"{self.location}: the server gives {len(content)} bytes where {end - start} were asked for",
                "expected one that serves ranges of files",
                "Copy the image to this computer, or put it on an object store.",
            )
        return content

    def _tried(self, call: Callable[[], Result]) -> Result:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, TRIES + 1):
            try:
                return call()
            except Exception as caught:  # every filesystem and its transport have errors of their own
                error = _unmasked(caught)
                if isinstance(error, FileNotFoundError):
                    raise
                cause = f"{type(error).__name__} {error}".replace(self.location.url, str(self.location))
                if not _may_pass(error) or attempt == TRIES:
                    raise ImageError(
                        f"{self.location} cannot be read ({attempt} tries): {cause}",
                        "expected a server that can be reached and lets it be read",
                        "Check the URL, the network and the permissions, and run again.",
                    ) from error
                _LOGGER.warning("%s: %s; trying again in %g s", self.location, cause, pause_s)
                time.sleep(pause_s)
                pause_s *= 2
        raise AssertionError  # the last try returns or raises


def _options(url: str) -> dict[str, Any]:
    """Return what fsspec is told of time limits; those of S3 (60 s, five tries of its own) are botocore's."""
    if url.lower().startswith("s3:"):
        return {}
    import aiohttp

    return {
        "client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)}
    }


def _unmasked(error: Exception) -> Exception:
    """Return what happened where fsspec says "not found" of a web server that refused or could not be reached."""
    cause = error.__cause__
    is_masked = isinstance(error, FileNotFoundError) and not isinstance(cause, FileNotFoundError)
    if not is_masked or not isinstance(cause, Exception):
        return error
    status = getattr(cause, "status", None)
    return cause if isinstance(cause, OSError) or (status is not None and status != _NOT_FOUND) else error


def _may_pass(error: Exception) -> bool:
    """Tell whether an error may be gone at the next try: not a refusal, and not a fault of the request."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status > 0:
        return status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS
    return not isinstance(error, PermissionError | NotImplementedError | TypeError)
