"""Nikon ND2: the library nd2 reads what the file says of itself, the pixels are read from their chunks directly."""

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores.axes import RGB_DTYPES, check_dtype, check_index, resolve_axes
from cohortseg.stores.bounds import FREE_BYTES, check_expansion
from cohortseg.stores.byte_files import ByteFile, OpenFile
from cohortseg.stores.layout_notes import note_frame
from cohortseg.stores.segment_cache import SegmentCache
from cohortseg.stores.source import ImageFacts, PageSelection
from cohortseg.stores.strided import PixelGrid, StridedSource
from cohortseg.stores.units import length_um, square_pixel_um

ND2_SIGNATURE = b"\xda\xce\xbe\x0a"
"""Of every chunk, and so of the file; files before NIS-Elements 3 are JPEG 2000 instead."""

AXES = {"TimeLoop": "T", "NETimeLoop": "T", "ZStackLoop": "Z", "XYPosLoop": "P"}
OTHER_AXIS = "U"
POSITIONS = "P"
"""These are series: each is another place of the sample."""

_MAP_SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_TAIL = struct.Struct("<32sQ")
_CHUNK_HEADER = struct.Struct("<4sIQ")
_MAP_ENTRY = struct.Struct("<QQ")
_FRAME = b"ImageDataSeq|"
_TIME_BYTES = 8
"""A frame's pixels come after the time it was taken."""

_METADATA = (b"ImageAttributes", b"ImageMetadata", b"ImageTextInfo")
_DEFLATED, _DEFLATED_HEAD_BYTES = b"L", 12
"""A chunk of metadata that begins so is a deflate stream after its head."""


@dataclass(frozen=True)
class _Document:
    """What an ND2 file says of itself."""

    axes: str
    counts: tuple[int, ...]
    shape: tuple[int, int]
    row_bytes: int
    n_samples: int
    dtype: np.dtype[Any]
    compression: str | None
    names: tuple[str, ...]
    pixel_size_um: float | None
    z_step_um: float | None


def open_nd2(path: Path, selection: PageSelection) -> StridedSource:
    """Open one plane of an ND2 file; its series are the positions of the stage.

    The channels of a frame lie interleaved, so that the bytes of all are read for any one of them.

    Raises
    ------
    MissingExtraError
        nd2 is not installed.
    ImageError
        The file is damaged, truncated, of before NIS-Elements 3 or of lossy compression, or the series, level or plane
        is not there.
    """
    try:
        import nd2
    except ImportError as error:
        raise MissingExtraError(
            f"{path.name} cannot be read: {error}",
            "expected the library nd2",
            "Install it: pip install 'cohortseg[microscopes]'.",
        ) from error
    with ExitStack() as closing:
        file = OpenFile(path)
        closing.callback(file.close)
        try:
            if file.read(0, len(ND2_SIGNATURE)) != ND2_SIGNATURE:
                raise _unreadable(path.name, "it is of the kind before NIS-Elements 3, or damaged")
            chunks = _chunk_places(file)
            _check_metadata(file, chunks)
            frames = {int(name[len(_FRAME) : -1]): offset for name, offset in chunks.items() if name.startswith(_FRAME)}
            with nd2.ND2File(path) as opened:
                document = _document(opened, len(frames))
            return _nd2_source(file, document, frames, selection, closing)
        except ImageError:
            raise
        except Exception as error:  # the library raises whatever its unpacking of damaged chunks runs into
            raise _unreadable(path.name, str(error) or type(error).__name__) from error


def _document(opened: Any, n_frames: int) -> _Document:
    attributes, loops = opened.attributes, opened.experiment
    channels = opened.metadata.channels or []
    volume = channels[0].volume if channels else None
    sizes = [volume.axesCalibration[i] if volume is not None and volume.axesCalibrated[i] else None for i in range(3)]
    counts = tuple(loop.count for loop in loops)
    axes = "".join(AXES.get(loop.type, OTHER_AXIS) for loop in loops)
    if not loops and n_frames > 1:
        axes, counts = OTHER_AXIS, (n_frames,)
    return _Document(
        axes=axes,
        counts=counts,
        shape=(attributes.heightPx, attributes.widthPx),
        row_bytes=attributes.widthBytes,
        n_samples=attributes.componentCount,
        dtype=opened.dtype.newbyteorder("<"),
        compression=attributes.compressionType,
        names=tuple(channel.channel.name or str(i) for i, channel in enumerate(channels)),
        pixel_size_um=square_pixel_um(sizes[1], sizes[0], "um"),
        z_step_um=length_um(sizes[2], "um"),
    )


def _nd2_source(
    file: OpenFile, document: _Document, frames: dict[int, int], selection: PageSelection, closing: ExitStack
) -> StridedSource:
    path, dtype = file.path, document.dtype
    counts = {axis: n for axis, n in zip(document.axes, document.counts, strict=True) if axis == POSITIONS}
    check_index(path.name, "series", selection.series, [f"position {i}" for i in range(counts.get(POSITIONS, 1))])
    check_index(path.name, "level", selection.level, ["full resolution"])
    planes = [(axis, n) for axis, n in zip(document.axes, document.counts, strict=True) if axis != POSITIONS]
    axes = "".join(axis for axis, _ in planes) + "YXS"
    shape = (*(n for _, n in planes), *document.shape, document.n_samples)
    layout = resolve_axes(path.name, axes, shape, selection)
    *place, _, _, _ = layout.corner(selection.plane, 0)
    frame = _frame_number(document, place, selection.series)
    if frame not in frames:
        raise _unreadable(path.name, f"it lacks frame {frame} of {math.prod(document.counts)}")
    is_rgb = document.n_samples == 3 and len(document.names) == 1 and dtype in RGB_DTYPES
    names = document.names if len(document.names) == document.n_samples else map(str, range(document.n_samples))
    facts = ImageFacts(
        path=path,
        shape=document.shape,
        dtype=check_dtype(path.name, dtype),
        channels=("R", "G", "B") if is_rgb else tuple(names),
        is_rgb=is_rgb,
        pixel_size_um=document.pixel_size_um,
        n_planes=layout.n_planes,
        format="ND2",
        z_step_um=document.z_step_um,
        z_place=layout.z_place(selection.plane),
    )
    grid = PixelGrid(document.shape, document.row_bytes, document.n_samples * dtype.itemsize, dtype)
    pixels, start = _pixels(file, frames[frame], grid, document)
    samples = [i * dtype.itemsize for i in range(document.n_samples)]
    source = StridedSource(facts, pixels, grid, [(start, each) for each in (samples[::-1] if is_rgb else samples)])
    closing.pop_all()
    return source


def _frame_number(document: _Document, place: Sequence[int], series: int) -> int:
    """Return the number of a frame, the loops of the experiment running from the outermost to the innermost."""
    index = list(place)
    frame = 0
    for axis, count in zip(document.axes, document.counts, strict=True):
        frame = frame * count + (series if axis == POSITIONS else index.pop(0))
    return frame


def _pixels(file: OpenFile, chunk: int, grid: PixelGrid, document: _Document) -> tuple[ByteFile, int]:
    """Return what a frame's pixels are read from, and the byte at which they begin there."""
    start, n_bytes = _chunk(file, chunk)
    start, n_bytes = start + _TIME_BYTES, n_bytes - _TIME_BYTES
    decoded_bytes = grid.span_bytes(grid.shape) + (document.n_samples - 1) * grid.dtype.itemsize
    if document.compression == "lossless":
        note_frame(file.path, decoded_bytes)
        return InflatedFrame(file, start, n_bytes, decoded_bytes), 0
    if document.compression is not None:
        raise _unreadable(file.path.name, f"its compression is {document.compression}")
    if decoded_bytes > n_bytes:
        raise _unreadable(file.path.name, f"a frame has {n_bytes} bytes of pixels, where {decoded_bytes} are needed")
    return file, start


class InflatedFrame(ByteFile):
    """The decoded bytes of a frame that is one deflate stream: it is decoded whole, once, when it is first read."""

    def __init__(self, file: OpenFile, offset: int, n_bytes: int, decoded_bytes: int) -> None:
        self.path = file.path
        self.size_bytes = decoded_bytes
        self._file = file
        self._stretch = offset, n_bytes
        self._cache = SegmentCache(decoded_bytes)

    @property
    def decoded_bytes(self) -> int:
        """See ByteFile."""
        return self._cache.decoded_bytes

    def read(self, offset: int, n_bytes: int) -> bytes:
        """See ByteFile."""
        self.check(offset, n_bytes, "a box")
        return self._cache.get("frame", self._inflate)[offset : offset + n_bytes].tobytes()

    def close(self) -> None:
        """See ByteFile."""
        self._file.close()

    def _inflate(self) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        encoded = self._file.read(*self._stretch)
        try:
            check_expansion(len(encoded), self.size_bytes)
            decoded = zlib.decompressobj().decompress(encoded, self.size_bytes)
        except (ValueError, zlib.error) as error:
            raise _unreadable(self.path.name, f"a frame cannot be decoded: {error}") from error
        if len(decoded) < self.size_bytes:
            raise _unreadable(self.path.name, f"a frame holds {len(decoded)} of {self.size_bytes} bytes")
        return np.frombuffer(decoded, np.uint8)


def _chunk_places(file: ByteFile) -> dict[bytes, int]:
    """Return the byte at which each chunk begins, by its name, from the map at the end of the file."""
    if file.size_bytes < _TAIL.size:
        raise _unreadable(file.path.name, f"it is truncated to {file.size_bytes} bytes")
    signature, place = _TAIL.unpack(file.read(file.size_bytes - _TAIL.size, _TAIL.size))
    if signature != _MAP_SIGNATURE:
        raise _unreadable(file.path.name, "it is truncated: the map of its chunks is not at its end")
    start, n_bytes = _chunk(file, place)
    if n_bytes > FREE_BYTES:
        raise _unreadable(file.path.name, f"the map of its chunks takes {n_bytes} bytes")
    content = file.read(start, n_bytes)
    places, position = {}, 0
    while not content.startswith(_MAP_SIGNATURE, position):
        end = content.index(b"!", position) + 1
        places[content[position:end]], _ = _MAP_ENTRY.unpack_from(content, end)
        position = end + _MAP_ENTRY.size
    return places


def _check_metadata(file: ByteFile, chunks: Mapping[bytes, int]) -> None:
    """Raise ImageError where a chunk of metadata, which the library decodes whole, would take too much memory."""
    for name in (each for each in chunks if each.startswith(_METADATA)):
        start, n_bytes = _chunk(file, chunks[name])
        decoded_bytes = n_bytes
        if n_bytes <= FREE_BYTES and file.read(start, min(n_bytes, 1)) == _DEFLATED:
            stream = zlib.decompressobj()
            stream.decompress(file.read(start, n_bytes)[_DEFLATED_HEAD_BYTES:], FREE_BYTES)
            decoded_bytes = FREE_BYTES + len(stream.unconsumed_tail)
        if decoded_bytes > FREE_BYTES:
            raise _unreadable(file.path.name, f"its metadata {name.decode('latin-1')} exceed {FREE_BYTES} bytes")


def _chunk(file: ByteFile, offset: int) -> tuple[int, int]:
    """Return the byte at which the content of the chunk at `offset` begins, and its size, which lies in the file."""
    file.check(offset, _CHUNK_HEADER.size, "a chunk")
    signature, name_bytes, n_bytes = _CHUNK_HEADER.unpack(file.read(offset, _CHUNK_HEADER.size))
    if signature != ND2_SIGNATURE:
        raise _unreadable(file.path.name, f"there is no chunk at byte {offset}")
    start = offset + _CHUNK_HEADER.size + name_bytes
    file.check(start, n_bytes, "a chunk")
    return start, n_bytes


def _unreadable(name: str, cause: str) -> ImageError:
    return ImageError(
        f"{name} cannot be read as ND2: {cause}",
        "expected a complete ND2 file of NIS-Elements 3 or newer, not compressed or without loss",
        "Copy the image again, or export it as OME-TIFF.",
    )
