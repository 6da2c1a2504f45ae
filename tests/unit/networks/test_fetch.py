"""Downloads come whole and right, or not at all; a server on this machine does what servers do."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cohortseg.errors import DownloadError
from cohortseg.networks import load_checkpoint
from cohortseg.networks.fetch import Limits, Record, record_path
from cohortseg.networks.fetch import fetch as fetch_checked
from cohortseg.networks.unet import ResidualUNet

QUICK = Limits(timeout_s=5.0, tries=4, pause_s=0.0)


@dataclass
class Shelf:
    """What the server gives, how it misbehaves, and what it was asked."""

    content: bytes = b""
    etag: str | None = '"v1"'
    kind: str = "application/octet-stream"
    breaks_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ignores_range: bool = False
    says_length: bool = True
    redirect: str | None = None
    linked_sha256: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves the shelf of its server."""

    def do_GET(self) -> None:
        shelf: Shelf = self.server.shelf  # type: ignore[attr-defined]
        shelf.asked.append(dict(self.headers))
        if self.path == "/start" and shelf.redirect is not None:
            self.send_response(302)
            self.send_header("Location", shelf.redirect)
            if shelf.linked_sha256:
                self.send_header("X-Linked-Etag", f'"{shelf.linked_sha256}"')
            self.end_headers()
            return
        if shelf.statuses and (status := shelf.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        start = self._start(shelf)
        if start and start >= len(shelf.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(shelf.content)}")
            self.end_headers()
            return
        body = shelf.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(shelf.content) - 1}/{len(shelf.content)}")
        self.send_header("Content-Type", shelf.kind)
        if shelf.etag:
            self.send_header("ETag", shelf.etag)
        if shelf.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if shelf.breaks_after:
            body = body[: shelf.breaks_after.pop(0)]
        self.wfile.write(body)

    def _start(self, shelf: Shelf) -> int:
        asked = self.headers.get("Range")
        if asked is None or shelf.ignores_range or self.headers.get("If-Range") != shelf.etag:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def shelf(network: ResidualUNet, tmp_path: Path) -> Shelf:
    torch.save(network.state_dict(), tmp_path / "original")
    return Shelf((tmp_path / "original").read_bytes())


@pytest.fixture
def url(shelf: Shelf) -> Iterator[str]:
    """Return the address of a file on a server of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.shelf = shelf  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/start"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models" / "cyto9"


def fetch(
    url: str,
    file: Path,
    sha256: str | None,
    *,
    check: Callable[[Path], object] = lambda file: None,
    limits: Limits | None = None,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Record:
    """Fetch a file of which any content is right, unless a test says otherwise."""
    return fetch_checked(url, file, sha256, check=check, limits=limits, on_progress=on_progress)


def left_over(file: Path) -> list[str]:
    return sorted(path.name for path in file.parent.iterdir()) if file.parent.is_dir() else []


def test_a_file_comes_whole_with_its_record_and_nothing_else(shelf: Shelf, url: str, file: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    record = fetch(url, file, None, limits=QUICK, on_progress=lambda *how_far: seen.append(how_far))
    assert file.read_bytes() == shelf.content
    assert (record.sha256, record.bytes, record.published) == (shelf.sha256, len(shelf.content), False)
    assert json.loads(record_path(file).read_text())["url"] == url
    assert left_over(file) == ["cyto9", "cyto9.json"]
    assert seen[-1] == (len(shelf.content), len(shelf.content))


def test_a_connection_that_breaks_is_gone_on_from(shelf: Shelf, url: str, file: Path) -> None:
    shelf.breaks_after = [1000, 500]
    assert fetch(url, file, shelf.sha256, limits=QUICK).published
    assert [asked.get("Range") for asked in shelf.asked] == [None, "bytes=1000-", "bytes=1500-"]
    assert [asked.get("If-Range") for asked in shelf.asked][1:] == ['"v1"', '"v1"']
    assert file.read_bytes() == shelf.content


def test_a_later_run_goes_on_from_what_an_earlier_one_left(shelf: Shelf, url: str, file: Path) -> None:
    shelf.breaks_after = [700]
    with pytest.raises(DownloadError, match=r"in 1 tries \(the connection ended after 700 of .*700 bytes are here"):
        fetch(url, file, None, limits=Limits(tries=1))
    assert not file.exists()
    fetch(url, file, None, limits=QUICK)
    assert shelf.asked[-1]["Range"] == "bytes=700-"
    assert file.read_bytes() == shelf.content


@pytest.mark.parametrize("why", ["range ignored", "changed", "other address", "no validator"])
def test_what_cannot_be_gone_on_from_starts_anew(shelf: Shelf, url: str, file: Path, why: str) -> None:
    shelf.breaks_after = [700]
    if why == "no validator":
        shelf.etag = None
    with pytest.raises(DownloadError):
        fetch(url, file, None, limits=Limits(tries=1))
    shelf.ignores_range = why == "range ignored"
    if why == "changed":
        shelf.content, shelf.etag = shelf.content[:-1] + b"\0", '"v2"'
    fetch(f"{url}?2" if why == "other address" else url, file, None, limits=QUICK)
    assert file.read_bytes() == shelf.content


def test_a_part_that_is_whole_already_is_only_checked(shelf: Shelf, url: str, file: Path) -> None:
    file.parent.mkdir()
    file.with_name("cyto9.part").write_bytes(shelf.content)
    file.with_name("cyto9.part.json").write_text(json.dumps({"url": url, "validator": shelf.etag}))
    assert fetch(url, file, shelf.sha256, limits=QUICK).sha256 == shelf.sha256
    assert left_over(file) == ["cyto9", "cyto9.json"]


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(shelf: Shelf, url: str, file: Path) -> None:
    shelf.statuses = [503, 429, 200]
    fetch(url, file, None, limits=QUICK)
    shelf.statuses, shelf.asked = [404], []
    with pytest.raises(DownloadError, match="was refused: HTTP 404"):
        fetch(url, file.with_name("other"), None, limits=QUICK)
    assert len(shelf.asked) == 1


def test_nobody_there_is_told_with_what_to_do(file: Path) -> None:
    with pytest.raises(DownloadError, match=r"could not be downloaded in 4 tries .*copy the file to .*cyto9"):
        fetch("http://127.0.0.1:9/x", file, None, limits=QUICK)


def test_a_wrong_hash_leaves_no_file(shelf: Shelf, url: str, file: Path) -> None:
    with pytest.raises(DownloadError, match=f"has the sha256 {shelf.sha256}; {'0' * 64} was expected"):
        fetch(url, file, "0" * 64, limits=QUICK)
    assert left_over(file) == []


def test_a_spoilt_part_is_not_blamed_on_the_server(shelf: Shelf, url: str, file: Path) -> None:
    file.parent.mkdir()
    file.with_name("cyto9.part").write_bytes(b"rubbish")
    file.with_name("cyto9.part.json").write_text(json.dumps({"url": url, "validator": shelf.etag}))
    fetch(url, file, shelf.sha256, limits=QUICK)
    assert file.read_bytes() == shelf.content


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_login_page_is_no_checkpoint(shelf: Shelf, url: str, file: Path, kind: str) -> None:
    shelf.content, shelf.kind = b"<!doctype html><title>Sign in</title>", kind
    with pytest.raises(DownloadError, match=r"gave a web page; a checkpoint.*open the address in a browser"):
        fetch(url, file, None, limits=QUICK)
    assert left_over(file) == []


def test_another_kind_of_network_is_named(shelf: Shelf, url: str, file: Path) -> None:
    shelf.content = b"\x89HDF\r\n\x1a\n" + bytes(99)
    with pytest.raises(DownloadError, match="gave an HDF5 file, as StarDist"):
        fetch(url, file, None, limits=QUICK)


@pytest.mark.parametrize("content", [b"II*\0 an image", b"PK\x03\x04 cut short", b"\x80\x04K\x07."])
def test_what_is_no_web_page_is_not_blamed_on_a_login(shelf: Shelf, url: str, file: Path, content: bytes) -> None:
    shelf.content = content
    with pytest.raises(DownloadError, match=r"gave an? .*Check the address, and copy the file") as raised:
        fetch(url, file, None, limits=QUICK)
    assert "login" not in str(raised.value)
    assert left_over(file) == []


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_file_that_does_not_load_gets_no_name_and_runs_nothing(
    shelf: Shelf, url: str, file: Path, network: ResidualUNet, tmp_path: Path
) -> None:
    hostile = network.state_dict() | {"downsample.more": Exploit(tmp_path / "made")}
    torch.save(hostile, tmp_path / "hostile")
    shelf.content = (tmp_path / "hostile").read_bytes()
    with pytest.raises(DownloadError, match=r"gave another file: cyto9 cannot .*asks for the code \w+\.mkdir"):
        fetch(url, file, None, check=load_checkpoint, limits=QUICK)
    assert left_over(file) == []
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("says_length", [True, False])
def test_more_than_a_checkpoint_can_have_is_refused(shelf: Shelf, url: str, file: Path, says_length: bool) -> None:
    shelf.says_length = says_length
    with pytest.raises(DownloadError, match="is larger than 1,000 bytes"):
        fetch(url, file, None, limits=Limits(most_bytes=1000))
    assert left_over(file) == []


def test_a_disk_without_room_is_told_beforehand(url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cohortseg.networks import fetch as module

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match=r"needs .* bytes more; 10 are free.*COHORTSEG_MODELS_PATH"):
        fetch(url, file, None, limits=QUICK)


@pytest.mark.parametrize("to", ["http://models.example/cyto9", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_away_from_https_is_refused(shelf: Shelf, url: str, file: Path, to: str) -> None:
    shelf.redirect = to
    with pytest.raises(DownloadError, match=r"is no address to download from|is not allowed"):
        fetch(url, file, None, limits=QUICK)
    assert left_over(file) == []


def test_a_sha256_that_the_first_answer_names_is_checked(shelf: Shelf, url: str, file: Path) -> None:
    shelf.redirect, shelf.linked_sha256 = url.replace("/start", "/content"), shelf.sha256
    assert fetch(url, file, None, limits=QUICK).published
    shelf.linked_sha256 = "1" * 64
    with pytest.raises(DownloadError, match="was expected"):
        fetch(url, file.with_name("other"), None, limits=QUICK)


def test_two_processes_do_not_write_to_one_file(url: str, file: Path) -> None:
    import fcntl

    file.parent.mkdir()
    with file.with_name("cyto9.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="is being downloaded by another process"):
            fetch(url, file, None, limits=QUICK)


def test_a_size_model_is_fetched_too(shelf: Shelf, url: str, file: Path, tmp_path: Path, size_table: Any) -> None:
    np.save(tmp_path / "size.npy", np.array(size_table, dtype=object))
    shelf.content = (tmp_path / "size.npy").read_bytes()
    fetch(url, file.with_name("size_cyto9.npy"), None, limits=QUICK)
    assert left_over(file) == ["size_cyto9.npy", "size_cyto9.npy.json"]
