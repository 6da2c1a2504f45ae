"""The viewer stays up, small and closed whatever comes in from loopback."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
N_REQUESTS, N_SENDERS = 10_000, 8
SECRET = "what lies outside of the results"
GROWTH_MB = 150

TARGETS = [
    "/",
    "/api/cohort",
    "/assets/viewer.js",
    "/api/samples/good",
    "/api/samples/good/image/11/0_0.jpg",
    "/api/samples/good/outlines/11/0_0.png",
    "/api/samples/good/cell",
    "/api/samples/good/flags",
    "/api/samples/good/flags/1",
    "/api/samples/good/progress",
]
CLIMBS = [
    "../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%252f", "..\\", "..%5c", "%c0%ae%c0%ae/", "....//", "..%00/",
    "..;/", "%uff0e%uff0e/",
]  # fmt: skip
VALUES = [
    "-1", "99999999999999999999", "nan", "inf", "-inf", "1e999", "0x10", "", "%00", "%ff%fe", "'", "<script>", "${x}",
    "1;2", "٣", "1e308", "-0", "true", "[]", "{}", "A" * 5000, "../../secret.txt",
]  # fmt: skip
BODIES = [
    b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{" * 3000, b"[" * 3000, b'{"cell_id":1e400}',
    b'{"cell_id":1,"flag":"good","x":NaN,"y":1}', b'{"cell_id":-1,"flag":"good","x":1,"y":1}',
    b'{"cell_id":1,"flag":"__class__","x":1,"y":1}', b'{"cell_id":1,"flag":null}', b"x" * 20_000,
    json.dumps({"cell_id": 1, "flag": "great", "note": "\0\n\t" * 99, "x": 1, "y": 1}).encode(),
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "G\0T", "", "X" * 300]


@dataclass(frozen=True)
class Running:
    """A viewer of its own process."""

    process: subprocess.Popen[str]
    port: int
    token: str
    log: Path

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def n_open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ask(self, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers={"Cookie": f"cohortseg-{self.port}={self.token}"})
        answer = connection.getresponse()
        assert answer.status == 200
        content = answer.read()
        connection.close()
        return content


@pytest.fixture(scope="module")
def running(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return `cohortseg view` in a process of its own, with files outside of the results that nobody may get."""
    (results.parent / "secret.txt").write_text(SECRET)
    (results / "leak").symlink_to(results.parent)
    (results / "secret.txt").write_text(SECRET)
    log = tmp_path_factory.mktemp("log") / "stderr.txt"
    command = [sys.executable, "-m", "cohortseg", "view", str(results), "--no-browser"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "OMP_NUM_THREADS": "1"}
    with (
        log.open("w") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment) as process,
    ):
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", process.stdout.readline())
        assert found
        yield Running(process, int(found[1]), found[2], log)
        if process.poll() is None:
            process.kill()


def head(rng: random.Random, running: Running, method: str, target: str, *more: bytes) -> bytes:
    """Return the head of a request that mostly brings what it takes to be answered."""
    host = f"127.0.0.1:{running.port}"
    lines = [f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape"), f"Host: {host}".encode()]
    if rng.random() < 0.9:
        lines.append(f"Cookie: cohortseg-{running.port}={running.token}".encode())
    if rng.random() < 0.8:
        lines.append(f"Origin: http://{host}".encode())
    return b"\r\n".join([*lines, b"Connection: close", *more]) + b"\r\n\r\n"


def garbage(rng: random.Random, _: Running) -> bytes:
    return rng.randbytes(rng.randrange(1, 400)) + rng.choice([b"", b"\r\n\r\n"])


def climbing(rng: random.Random, running: Running) -> bytes:
    start = rng.choice(
        ["/", "/assets/", "/api/samples/", "/api/samples/good/", "/api/samples/good/image/11/", "//", ""]
    )
    ending = rng.choice(["secret.txt", "etc/passwd", "etc%2fpasswd", "metadata.json", "leak%2fsecret.txt"])
    return head(rng, running, "GET", start + rng.choice(CLIMBS) * rng.choice([1, 2, 8, 16]) + ending)


def odd_method(rng: random.Random, running: Running) -> bytes:
    return head(rng, running, rng.choice(METHODS), rng.choice(TARGETS))


def odd_query(rng: random.Random, running: Running) -> bytes:
    names = ["x", "y", "id", "c", "color", "token", rng.choice(VALUES)]
    pairs = [f"{rng.choice(names)}={':'.join(rng.choices(VALUES, k=rng.choice([1, 1, 4])))}" for _ in range(3)]
    return head(rng, running, "GET", f"{rng.choice(TARGETS)}?{'&'.join(pairs)}")


def odd_tile(rng: random.Random, running: Running) -> bytes:
    kind, ending = rng.choice([("image", "jpg"), ("outlines", "png")])
    level, column, row = (rng.choice([*VALUES, str(rng.randrange(10**6)), str(rng.randrange(14))]) for _ in range(3))
    sample = rng.choice(["good", "bare", "moved", *VALUES])
    return head(rng, running, "GET", f"/api/samples/{sample}/{kind}/{level}/{column}_{row}.{ending}")


def odd_header(rng: random.Random, running: Running) -> bytes:
    more = [
        b"X: " + b"y" * rng.choice([10, 9000, 70_000]),
        b"\r\n".join(b"H%d: 1" % i for i in range(rng.choice([5, 300]))),
        b"Content-Length: " + rng.choice([b"-1", b"99999999999", b"x", b"1, 2"]),
        b"Transfer-Encoding: " + rng.choice([b"chunked", b"gzip", b"chunked, chunked"]),
        b"Cookie: " + rng.randbytes(30).replace(b"\n", b""),
        b"Host: evil.example",
        b"Expect: 100-continue",
        b"Upgrade: websocket",
        b": nothing",
        b"Range: bytes=0-1,5-9999999999",
    ]
    return head(rng, running, rng.choice(["GET", "POST"]), rng.choice(TARGETS), rng.choice(more))


def odd_body(rng: random.Random, running: Running) -> bytes:
    body = rng.choice(BODIES)
    kind = rng.choice([b"application/json", b"application/json", b"text/plain", b"multipart/form-data"])
    more = [b"Content-Type: " + kind, b"Content-Length: %d" % rng.choice([len(body), 0])]
    return head(rng, running, "POST", "/api/samples/good/flags", *more) + body


def cut(rng: random.Random, running: Running) -> bytes:
    whole = rng.choice([climbing, odd_query, odd_tile, odd_body])(rng, running)
    return whole[: rng.randrange(len(whole))]


Kind = Callable[[random.Random, Running], bytes]
WHOLE: tuple[Kind, ...] = (climbing, odd_method, odd_query, odd_tile, odd_body)
BROKEN: tuple[Kind, ...] = (garbage, odd_header, cut)
"""Kinds of which the server may wait for more."""


def exchange(rng: random.Random, running: Running) -> bytes:
    """Send a request, sometimes in pieces, and return what comes back, where an answer is due or comes at once."""
    kind = rng.choice(WHOLE + BROKEN)
    request = kind(rng, running)
    patience_s = 30 if kind in WHOLE else 0.02
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
        try:
            if rng.random() < 0.05:
                middle = len(request) // 2
                connection.sendall(request[:middle])
                time.sleep(0.01)
                request = request[middle:]
            connection.sendall(request)
            if rng.random() < 0.05:
                return b""  # gone before the answer
            return received(connection, patience_s)
        except ConnectionError:
            return b""


def received(connection: socket.socket, patience_s: float) -> bytes:
    """Return what comes until the other end closes, or for a short patience, until nothing more comes."""
    connection.settimeout(patience_s)
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except TimeoutError:
        assert patience_s < 1, "no answer"
    return b"".join(parts)


@pytest.mark.timeout(240)
def test_ten_thousand_malformed_requests_change_nothing(running: Running) -> None:
    before = running.ask("/api/samples/good/image/11/0_0.jpg")
    with ExitStack() as opened:
        silent = [opened.enter_context(socket.create_connection(("127.0.0.1", running.port))) for _ in range(100)]
        for connection in silent[:50]:
            connection.sendall(b"GET / HTTP/1.1\r\nHost:")
        statuses = send_all(running)
        for connection in silent:
            connection.settimeout(15)
            assert is_closed(connection)
    assert running.process.poll() is None
    assert running.ask("/api/samples/good/image/11/0_0.jpg") == before
    assert json.loads(running.ask("/api/samples/good/flags")) == []
    assert statuses[b"500"] == 0
    assert min(statuses[b"400"], statuses[b"403"], statuses[b"404"]) > 100
    assert running.n_open_files() < 100
    assert "Traceback" not in running.log.read_text()


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other end closes a connection within its time limit."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def send_all(running: Running) -> Counter[bytes]:
    """Send all requests from several threads, and return how many were answered with each status."""

    def send(seed: int) -> tuple[Counter[bytes], float]:
        rng, statuses, memory_mb = random.Random(seed), Counter[bytes](), 0.0
        for number in range(N_REQUESTS // N_SENDERS):
            answer = exchange(rng, running)
            statuses[answer[9:12]] += 1
            for secret in (SECRET.encode(), b"root:x:", b"Traceback", b"/results"):
                assert secret not in answer
            if number == N_REQUESTS // N_SENDERS // 4:
                memory_mb = running.memory_mb()
        return statuses, memory_mb

    with ThreadPoolExecutor(N_SENDERS) as senders:
        found = list(senders.map(send, range(N_SENDERS)))
    assert running.memory_mb() < max(memory_mb for _, memory_mb in found) + GROWTH_MB
    return sum((statuses for statuses, _ in found), Counter[bytes]())


def test_a_slow_sender_does_not_keep_others_waiting(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as slow:
        slow.sendall(b"POST /api/samples/good/flags HTTP/1.1\r\nContent-Length: 100\r\n")
        assert running.ask("/api/cohort")


def test_ctrl_c_ends_the_viewer_without_a_complaint(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port)):
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0
    assert "Traceback" not in running.log.read_text()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", running.port)).close()
