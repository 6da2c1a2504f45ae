"""A web server on loopback, with faults; and files as Nikon's and Leica's microscopes write them."""

import struct
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
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


@dataclass(frozen=True)
class LifImage:
    """An image of a LIF file: pixels in memory order, axes among TZCYX and P for positions; S are colours as tags say.

    `padding` bytes follow each row.
    """

    name: str
    axes: str
    pixels: Any
    names: tuple[str, ...] = ()
    tags: tuple[int, ...] = ()
    dyes: tuple[str, ...] = ()
    z_length_um: float = 0.0
    padding: int = 0


LIF_AXES = {"X": 1, "Y": 2, "Z": 3, "T": 4, "P": 10}
LIF_PIXEL_UM = 0.25


def lif_steps(image: LifImage) -> dict[str, int]:
    """Return how many bytes neighbours along each axis are apart."""
    steps, step = {}, image.pixels.dtype.itemsize
    for axis, n in reversed(list(zip(image.axes, image.pixels.shape, strict=True))):
        steps[axis] = step
        step = step * n + (image.padding if axis == "X" else 0)
    return steps


def lif_bytes(image: LifImage) -> bytes:
    """Return the pixels as memory holds them."""
    if not image.padding:
        return bytes(image.pixels.tobytes())
    y = image.axes.index("Y") + 1
    rows = image.pixels.reshape(int(np.prod(image.pixels.shape[:y])), -1)
    return b"".join(row.tobytes() + bytes(image.padding) for row in rows)


def lif_element(image: LifImage, number: int) -> str:
    steps, sizes = lif_steps(image), dict(zip(image.axes, image.pixels.shape, strict=True))
    samples = "S" if "S" in sizes else "C"
    n_channels = sizes.get(samples, 1)
    kind, bits = int(image.pixels.dtype.kind == "f"), 8 * image.pixels.dtype.itemsize
    tags, channels, dimensions = image.tags or (0,) * n_channels, "", ""
    for i in range(n_channels):
        name = image.names[i] if image.names else "Gray"
        dyes = (
            f"<ChannelProperty><Key>DyeName</Key><Value>{image.dyes[i]}</Value></ChannelProperty>" if image.dyes else ""
        )
        channels += (
            f'<ChannelDescription DataType="{kind}" ChannelTag="{tags[i]}" Resolution="{bits}" Min="0" Max="1" Unit="" '
            f'NameOfMeasuredQuantity="" LUTName="{name}" IsLUTInverted="0" BytesInc="{i * steps.get(samples, 0)}" '
            f'BitInc="0">{dyes}</ChannelDescription>'
        )
    for axis in "XYZTP":
        if axis not in sizes:
            continue
        length_um = {"X": LIF_PIXEL_UM, "Y": LIF_PIXEL_UM}.get(axis, 1.0) * (sizes[axis] - 1)
        length_um = image.z_length_um if axis == "Z" else length_um
        dimensions += (
            f'<DimensionDescription DimID="{LIF_AXES[axis]}" NumberOfElements="{sizes[axis]}" Origin="0" '
            f'Length="{length_um * 1e-6}" Unit="{"m" if axis in "XYZ" else "s"}" BitInc="0" BytesInc="{steps[axis]}"/>'
        )
    return (
        f'<Element Name="{image.name}"><Data><Image><ImageDescription><Channels>{channels}</Channels><Dimensions>'
        f"{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{len(lif_bytes(image))}" MemoryBlockID="MemBlock_{number}"/><Children/></Element>'
    )


@pytest.fixture
def write_lif() -> Callable[..., Path]:
    """Return what writes images, by the fields of LifImage, into a LIF file of version 2, and gives its path."""

    def write(path: Path, *fields: dict[str, Any]) -> Path:
        images = [LifImage(**each) for each in fields]
        elements = "".join(lif_element(image, i) for i, image in enumerate(images))
        xml = (
            '<LMSDataContainerHeader Version="2"><Element Name="root"><Data><Experiment/></Data><Memory Size="0" '
            f'MemoryBlockID="MemBlock_none"/><Children>{elements}</Children></Element></LMSDataContainerHeader>'
        )
        content = struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml)) + xml.encode("utf-16-le")
        for name, data in [("none", b""), *((str(i), lif_bytes(image)) for i, image in enumerate(images))]:
            text = f"MemBlock_{name}"
            content += struct.pack("<IIBQBI", 0x70, 14 + 2 * len(text), 0x2A, len(data), 0x2A, len(text))
            content += text.encode("utf-16-le") + data
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def write_lof() -> Callable[..., Path]:
    """Return what writes one image into a LOF file, by the fields of LifImage, and gives its path."""

    def write(path: Path, **fields: Any) -> Path:
        image, name = LifImage(**fields), "LMS_Object_File"
        data = lif_bytes(image)
        xml = f'<LMSDataContainerHeader Version="2">{lif_element(image, 0)}</LMSDataContainerHeader>'
        content = struct.pack("<IIBI", 0x70, 2 * len(name) + 5, 0x2A, len(name)) + name.encode("utf-16-le")
        content += struct.pack("<BIBIBQ", 0x2A, 2, 0x2A, 0, 0x2A, len(data)) + data
        content += struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml)) + xml.encode("utf-16-le")
        path.write_bytes(content)
        return path

    return write


@dataclass(frozen=True)
class Nd2Image:
    """What an ND2 file holds: frames (number, y, x, sample), the loops of its experiment from the outermost, names.

    `padding` bytes follow each row; `absent` frames are not in the file; `stream` is in each one's place where given.
    """

    frames: Any
    loops: tuple[tuple[str, int], ...] = ()
    names: tuple[str, ...] = ("DAPI",)
    samples_per_channel: int = 1
    compressed: bool = False
    pixel_size_um: float | None = 0.325
    z_step_um: float = 1.5
    padding: int = 0
    absent: tuple[int, ...] = ()
    text_info: bytes = b""
    stream: bytes = b""


ND2_MAP = b"ND2 CHUNK MAP SIGNATURE 0000001!"
ND2_PAGE = 4096


def lite(name: str, value: Any) -> bytes:
    """Encode a named value as NIS-Elements' metadata hold it ("lite variant")."""
    text = f"{name}\0".encode("utf-16-le")
    kinds: dict[type, tuple[int, Callable[[Any], bytes]]] = {
        bool: (1, lambda v: struct.pack("B", v)),
        int: (3, lambda v: struct.pack("<I", v)),
        float: (6, lambda v: struct.pack("<d", v)),
        str: (8, lambda v: f"{v}\0".encode("utf-16-le")),
    }
    if type(value) in kinds:
        kind, encode = kinds[type(value)]
        return bytes([kind, len(text) // 2]) + text + encode(value)
    items = value.items() if isinstance(value, dict) else [("", each) for each in value]
    parts = [lite(key, each) for key, each in items]
    n_bytes = 2 + len(text) + 12 + sum(map(len, parts))
    return (
        bytes([11, len(text) // 2])
        + text
        + struct.pack("<IQ", len(parts), n_bytes)
        + b"".join(parts)
        + bytes(8 * len(parts))
    )


def nd2_experiment(image: Nd2Image) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for axis, count in reversed(image.loops):
        step = {"dZStep": image.z_step_um, "dZLow": 0.0, "dZHigh": image.z_step_um * (count - 1), "dZHome": 0.0}
        pars: dict[str, dict[str, Any]] = {
            "T": {"uiCount": count, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0},
            "P": {"Points": [{"dPosX": float(i), "dPosY": 0.0, "dPosZ": 0.0} for i in range(count)]},
            "Z": {"uiCount": count, "bZInverted": False, "iType": 2, **step},
        }
        inner = {"ppNextLevelEx": [nested]} if nested else {}
        nested = {"eType": {"T": 1, "P": 2, "Z": 4}[axis], "uLoopPars": pars[axis], **inner}
    return nested


def nd2_metadata(image: Nd2Image) -> dict[bytes, bytes]:
    n_frames, height, width, n_samples = image.frames.shape
    item_bytes = image.frames.dtype.itemsize
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": width * n_samples * item_bytes + image.padding,
        "uiHeight": height,
        "uiComp": n_samples,
        "uiBpcInMemory": 8 * item_bytes,
        "uiBpcSignificant": 8 * item_bytes,
        "uiSequenceCount": n_frames,
        "eCompression": 0 if image.compressed else 2,
        "dCompressionParam": 1.0,
        "uiTileWidth": width,
        "uiTileHeight": height,
    }
    planes = {
        f"a{i}": {
            "sDescription": name,
            "uiCompCount": image.samples_per_channel,
            "uiModalityMask": 1,
            "uiColor": 255,
            "pFluorescentProbe": {"m_sName": name},
        }
        for i, name in enumerate(image.names)
    }
    picture = {
        "bCalibrated": image.pixel_size_um is not None,
        "dCalibration": image.pixel_size_um or 1.0,
        "sPicturePlanes": {"uiCount": len(planes), "sPlaneNew": planes},
    }
    chunks = {
        b"ImageAttributesLV!": lite("SLxImageAttributes", attributes),
        b"ImageMetadataSeqLV|0!": lite("SLxPictureMetadata", picture),
    }
    if image.text_info:
        chunks[b"ImageTextInfoLV!"] = image.text_info
    if image.loops:
        chunks[b"ImageMetadataLV!"] = lite("SLxExperiment", nd2_experiment(image))
    return chunks


@pytest.fixture
def write_nd2() -> Callable[..., Path]:
    """Return what writes an ND2 file of version 3, by the fields of Nd2Image, and gives its path."""

    def write(path: Path, frames: Any, **fields: Any) -> Path:
        image = Nd2Image(frames, **fields)
        content = bytearray(
            struct.pack("<IIQ32s64s", 0x0ABECEDA, 32, 64, b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0")
        )
        entries = b""

        def add(name: bytes, data: bytes, name_bytes: int) -> None:
            nonlocal entries
            content.extend(bytes(-len(content) % ND2_PAGE))
            entries += name + struct.pack("<QQ", len(content), len(data))
            content.extend(
                struct.pack("<IIQ", 0x0ABECEDA, name_bytes, len(data)) + name.ljust(name_bytes, b"\0") + data
            )

        for i, frame in enumerate(image.frames):
            data = b"".join(row.tobytes() + bytes(image.padding) for row in frame)
            data = image.stream or (zlib.compress(data) if image.compressed else data)
            if i not in image.absent:  # pixels begin a page, after the time
                add(b"ImageDataSeq|%d!" % i, struct.pack("<d", i) + data, ND2_PAGE - 24)
        for name, data in nd2_metadata(image).items():
            add(name, data, 48)
        content.extend(bytes(-len(content) % ND2_PAGE))
        place = len(content)
        entries += ND2_MAP + struct.pack("<Q", place)
        content.extend(
            struct.pack("<IIQ", 0x0ABECEDA, 32, len(entries)) + b"ND2 FILEMAP SIGNATURE NAME 0001!" + entries
        )
        path.write_bytes(content)
        return path

    return write
