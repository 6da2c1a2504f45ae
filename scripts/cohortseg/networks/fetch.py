"""Downloads of checkpoints: resumed, checked, and under their final name complete or not at all."""

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from cohortseg import __version__
from cohortseg.errors import CheckpointError, DownloadError
from cohortseg.networks.kinds import Kind, kind_of
from cohortseg.settings.registry import is_allowed_url

_BLOCK_BYTES = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_CHECKPOINTS = (Kind.RESIDUAL_UNET, Kind.CELLPOSE4, Kind.SIZE_MODEL)


@dataclass(frozen=True)
class Limits:
    """How long and how much a download may take: seconds without a byte, tries, seconds before the second, bytes."""

    timeout_s: float = 30.0
    tries: int = 5
    pause_s: float = 1.0
    most_bytes: int = 4 * 2**30


@dataclass(frozen=True)
class Record:
    """What is kept beside a file that was downloaded, as `<file>.json`.

    Attributes
    ----------
    url, sha256, bytes
        Where it came from, and what came.
    published
        Whether the sha256 was known beforehand, rather than first seen here.
    date
        When, UTC.
    """

    url: str
    sha256: str
    bytes: int
    published: bool
    date: str


def record_path(file: Path) -> Path:
    """Return where the record of a downloaded file is."""
    return file.with_name(f"{file.name}.json")


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fetch(
    url: str,
    file: Path,
    sha256: str | None,
    *,
    check: Callable[[Path], object],
    limits: Limits | None = None,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Record:
    """Download a checkpoint or a size model to a file and write its record beside it.

    What has come lies in `<file>.part` until it is whole and checked; a download that was broken off goes on from
    there, if the server still has the same file.

    Parameters
    ----------
    url
        https; http on this machine only. Redirects are held to the same.
    sha256
        What the file has to have; None where it is not known, and a sha256 that the first answer names (as Hugging
        Face's do) is taken then.
    check
        Raises CheckpointError where a file is not what was asked for; called before the file gets its name.
    on_progress
        Told how many bytes are here, of how many, None where the server does not say.

    Raises
    ------
    DownloadError
        If the address is not allowed, the server cannot be reached or refuses, the file is too large, not what it
        should be, or no checkpoint, or another process downloads it just now.
    """
    _check_address(url)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            download = _Download(url, file, limits or Limits(), on_progress)
            download.run()
            return download.finish(sha256, check)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{file} could not be written ({error.strerror or error})",
            "a folder with room that can be written to was expected",
            "Set COHORTSEG_MODELS_PATH to one.",
        ) from error


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold a lock, so that two processes do not write to one part."""
    path = file.with_name(f"{file.name}.lock")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DownloadError(
                f"{file.name} is being downloaded by another process ({error.strerror})",
                f"one at a time was expected in {file.parent}",
                "Wait for it, or end it.",
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to allowed addresses only, and keeps the sha256 that the first answer names."""

    def __init__(self) -> None:
        self.sha256: str | None = None

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        _check_address(newurl, via=req.full_url)
        self.sha256 = self.sha256 or _linked_sha256(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class _BrokenError(Exception):
    """The connection ended early; what has come stays."""


class _Download:
    """One file on its way."""

    def __init__(self, url: str, file: Path, limits: Limits, on_progress: Callable[[int, int | None], None]) -> None:
        self.url, self.file, self.limits, self.on_progress = url, file, limits, on_progress
        self.part = file.with_name(f"{file.name}.part")
        self.source = file.with_name(f"{file.name}.part.json")
        self.named_sha256: str | None = None
        self.resumed = False
        self._validator = ""

    def run(self) -> None:
        """Bring the part to its full length, trying again where the connection breaks."""
        last: object = None
        for attempt in range(self.limits.tries):
            if attempt:
                time.sleep(self.limits.pause_s * 2 ** (attempt - 1))
            try:
                return self._try()
            except (_BrokenError, TimeoutError, ConnectionError, URLError, http.client.HTTPException) as error:
                last = getattr(error, "reason", None) or str(error) or type(error).__name__
        here = self.part.stat().st_size if self.part.is_file() else 0
        raise DownloadError(
            f"{self.url} could not be downloaded in {self.limits.tries} tries ({last})",
            f"a connection was expected; {here:,} bytes are here",
            f"Try again, it goes on from there; or copy the file to {self.file} by other means.",
        )

    def _try(self) -> None:
        start = self._resumable_bytes()
        redirects = _Redirects()
        try:
            with _opener(self.url, redirects).open(self._request(start), timeout=self.limits.timeout_s) as answer:
                self.named_sha256 = redirects.sha256 or _linked_sha256(answer.headers)
                self._receive(answer, start)
        except HTTPError as error:
            self._judge(error, start)

    def _judge(self, error: HTTPError, start: int) -> None:
        """Raise what a refusal of the server means; return where the part has all bytes already."""
        with error:
            if error.code == 416 and start:
                if error.headers.get("Content-Range", "") == f"bytes */{start}":
                    return
                self._forget()
                raise _BrokenError("the file on the server has changed")
            if error.code in _PASSING:
                raise _BrokenError(f"HTTP {error.code} {error.reason}")
        raise DownloadError(
            f"{self.url} was refused: HTTP {error.code} {error.reason}",
            "a file was expected",
            f"Check the address, or copy the file to {self.file} by other means.",
        ) from error

    def _request(self, start: int) -> Request:
        headers = {"User-Agent": f"cohortseg/{__version__}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            headers["If-Range"] = self._validator
        return Request(self.url, headers=headers)

    def _resumable_bytes(self) -> int:
        """Return how much of the part can be built on: what came from this address, if the server can tell changes."""
        try:
            source = json.loads(self.source.read_text())
            if source["url"] == self.url and isinstance(source["validator"], str):
                self._validator = source["validator"]
                return self.part.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):  # not there, or not as `_note_source` writes it
            pass
        self._forget()
        return 0

    def _receive(self, answer: http.client.HTTPResponse, start: int) -> None:
        if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise self._not_a_checkpoint(Kind.WEB_PAGE)
        start, total = self._extent(answer, start)
        self.resumed = start > 0
        if not start:
            self._forget()
            self._note_source(answer.headers)
        self._check_room(total, start)
        done = start
        with self.part.open("ab") as part:
            while block := answer.read(_BLOCK_BYTES):
                done += len(block)
                self._check_size(done)
                part.write(block)
                self.on_progress(done, total)
            part.flush()
            os.fsync(part.fileno())
        if total is not None and done != total:
            raise _BrokenError(f"the connection ended after {done:,} of {total:,} bytes")

    def _extent(self, answer: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
        """Return from which byte on an answer goes, and how many the whole file has; a server may ignore a range."""
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != start:
                self._forget()
                raise _BrokenError("the server sent another part than the one asked for")
            return start, int(found[2])
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None

    def _note_source(self, headers: Message) -> None:
        """Keep what tells a later run whether the file on the server is still the same."""
        etag, modified = headers.get("ETag", ""), headers.get("Last-Modified")
        validator = etag if etag.startswith('"') else modified
        self.source.write_text(json.dumps({"url": self.url, "validator": validator}))

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self.limits.most_bytes:
            self._forget()
            raise DownloadError(
                f"{self.url} is larger than {self.limits.most_bytes:,} bytes",
                "no checkpoint of the Cellpose family is",
                "Check the address.",
            )

    def _check_room(self, total: int | None, start: int) -> None:
        needed, free = (total or start) - start, shutil.disk_usage(self.file.parent).free
        self._check_size(total or start)
        if needed > free:
            raise DownloadError(
                f"{self.file.name} needs {needed:,} bytes more",
                f"{free:,} are free in {self.file.parent}",
                "Make room, or set COHORTSEG_MODELS_PATH to a folder with more.",
            )

    def finish(self, known_sha256: str | None, check: Callable[[Path], object]) -> Record:
        """Check the part, rename it to its final name and write its record."""
        sha256, expected = sha256_of(self.part), known_sha256 or self.named_sha256
        if expected is not None and sha256 != expected:
            if self.resumed:  # what was here before may be to blame
                self.resumed = False
                self._forget()
                self.run()
                return self.finish(known_sha256, check)
            self._forget()
            raise DownloadError(
                f"{self.file.name} from {self.url} has the sha256 {sha256}",
                f"{expected} was expected",
                "The file was changed on its way or at its source: do not use it. Try again, or ask its makers.",
            )
        if (kind := kind_of(self.part)) not in _CHECKPOINTS:
            self._forget()
            raise self._not_a_checkpoint(kind)
        self._check_content(check)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record = Record(self.url, sha256, self.part.stat().st_size, expected is not None, now)
        os.replace(self.part, self.file)
        temporary = self.source.with_name(f"{self.source.name}.tmp")
        temporary.write_text(json.dumps(asdict(record), indent=2) + "\n")
        os.replace(temporary, record_path(self.file))
        self.source.unlink(missing_ok=True)
        return record

    def _check_content(self, check: Callable[[Path], object]) -> None:
        try:
            check(self.part)
        except CheckpointError as error:
            self._forget()
            raise DownloadError(
                f"{self.url} gave another file: {error.found.replace(self.part.name, self.file.name)}",
                error.expected,
                f"Check the address, or copy the right file to {self.file} by other means.",
            ) from error

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.source.unlink(missing_ok=True)

    def _not_a_checkpoint(self, kind: Kind) -> DownloadError:
        hint = "Check the address"
        if kind is Kind.WEB_PAGE:
            hint = "A login page or a proxy may stand in between: open the address in a browser"
        return DownloadError(
            f"{self.url} gave {kind}",
            "a checkpoint or a size model was expected",
            f"{hint}, and copy the file to {self.file} by hand.",
        )


def _check_address(url: str, via: str | None = None) -> None:
    downgraded = via is not None and urlsplit(via).scheme == "https" and urlsplit(url).scheme != "https"
    if not is_allowed_url(url) or downgraded:
        raise DownloadError(
            f"{url} is no address to download from" + (f", to which {via} leads" if via else ""),
            "https was expected (http on this machine only), without a password",
            "Correct the address, or copy the file into the model folder by other means.",
        )


def _opener(url: str, redirects: _Redirects) -> OpenerDirector:
    """Return what opens addresses: through the proxies that the environment names, unless on this machine."""
    return build_opener(redirects, *([ProxyHandler({})] if urlsplit(url).scheme == "http" else []))


def _linked_sha256(headers: Message) -> str | None:
    """Return the sha256 that Hugging Face names for a large file, in the header X-Linked-Etag."""
    tag = headers.get("X-Linked-Etag", "").strip('"')
    return tag if _SHA256.fullmatch(tag) else None
