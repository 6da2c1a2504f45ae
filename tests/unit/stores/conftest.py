"""A web server on loopback, with faults."""

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cohortseg.stores import remote
from cohortseg.stores.location import RemoteLocation


class WebServer(ThreadingHTTPServer):
    """Serves a folder with ranges; may drop each file's first connections, answer with a status, or ignore ranges."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.drops = 0
        self.status: int | None = None
        self.ranges = True
        self.asked: Counter[str] = Counter()
        self.sent_bytes = 0
        self.lock = threading.Lock()

    def at(self, path: str) -> RemoteLocation:
        return RemoteLocation(f"http://127.0.0.1:{self.server_address[1]}/{path}")


class _Handler(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.respond(with_body=False)

    def do_GET(self) -> None:
        self.respond(with_body=True)

    def log_message(self, format: str, *args: object) -> None:
        return

    def respond(self, with_body: bool) -> None:
        server, name = self.server, self.path.partition("?")[0].lstrip("/")
        with server.lock:
            server.asked[name] += 1
            drop = server.asked[name] <= server.drops
        path = server.folder / name
        if server.status is not None or not path.is_file():
            self.send_response(server.status or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, status = path.read_bytes(), 200
        size, wanted = len(content), self.headers.get("Range")
        if wanted and server.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, size - int(last))
            stop = int(last) + 1 if first and last else size
            content, status = content[start:stop], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{start + len(content) - 1}/{size}")
        self.end_headers()
        if with_body:
            server.sent_bytes += len(content)
            self.wfile.write(content[: len(content) // 2] if drop else content)
        if drop:
            self.close_connection = True


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """Return a server of tmp_path; tries follow one another at once."""
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.001)
    with WebServer(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
