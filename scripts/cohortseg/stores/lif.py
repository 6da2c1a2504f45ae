"""Leica LIF and LOF: liffile finds the XML and the blocks of memory, the pixels are read from these directly."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores.axes import RGB_DTYPES, check_dtype, check_index, resolve_axes
from cohortseg.stores.byte_files import OpenFile
from cohortseg.stores.source import ImageFacts, PageSelection
from cohortseg.stores.strided import PixelGrid, StridedSource
from cohortseg.stores.units import length_um, square_pixel_um

AXES = {1: "X", 2: "Y", 3: "Z", 4: "T"}
"""By DimID; all others, such as 10, the position of a mosaic, count planes."""

OTHER_AXIS = "P"

RGB_TAGS = [1, 2, 3]
"""ChannelTag of red, green and blue; 0 is grey."""

SAMPLE_BYTES = {(0, 8): "<u1", (0, 16): "<u2", (0, 32): "<u4", (1, 16): "<f2", (1, 32): "<f4", (1, 64): "<f8"}
"""Dtypes by DataType (0: whole numbers) and bits, rounded up from Resolution."""


@dataclass(frozen=True)
class LifAxis:
    """An axis of an image: its letter, length in pixels, distance of neighbours in bytes and in µm."""

    letter: str
    count: int
    step_bytes: int
    step_um: float | None


@dataclass(frozen=True)
class LifChannel:
    """A channel of an image: its name, what colour it is, its dtype and how far its samples are from the first's."""

    name: str
    tag: int
    dtype: np.dtype[Any]
    offset_bytes: int


def is_lif(start: bytes) -> bool:
    """Tell a LIF or LOF file by its first nine bytes."""
    return start[:4] == b"\x70\0\0\0" and start[8:9] == b"\x2a"


def open_lif(path: Path, selection: PageSelection) -> StridedSource:
    """Open one plane of a LIF file; its series are its images, in the order of its XML.

    Raises
    ------
    MissingExtraError
        liffile is not installed.
    ImageError
        The file is damaged or truncated, or the series, level or plane is not there.
    """
    try:
        import liffile
    except ImportError as error:
        raise MissingExtraError(
            f"{path.name} cannot be read: {error}",
            "expected the library liffile",
            "Install it: pip install 'cohortseg[microscopes]'.",
        ) from error
    try:
        with liffile.LifFile(path) as document:
            images = list(_images(document.xml_element))
            blocks = {name: (block.offset, block.size) for name, block in document.memory_blocks.items()}
        return _lif_source(path, images, blocks, selection)
    except ImageError:
        raise
    except Exception as error:  # the library, and parsing its XML, raise whatever they run into
        raise _unreadable(path.name, str(error) or type(error).__name__) from error


def _images(parent: Element, folder: str = "") -> Iterator[tuple[str, Element]]:
    """Yield the images below an element with their paths, an image before those that belong to it."""
    for element in [*parent.findall("./Element"), *parent.findall("./Children/Element")]:
        name = f"{folder}/{element.get('Name')}" if folder else str(element.get("Name"))
        if element.find("./Data/Image/ImageDescription") is not None:
            yield name, element
        yield from _images(element, name)


def _lif_source(
    path: Path, images: list[tuple[str, Element]], blocks: Mapping[str, tuple[int, int]], selection: PageSelection
) -> StridedSource:
    if not images:
        raise _unreadable(path.name, "its XML describes no image")
    check_index(path.name, "series", selection.series, [name for name, _ in images])
    check_index(path.name, "level", selection.level, ["full resolution"])
    element = images[selection.series][1]
    axes = sorted(_axes(element), key=lambda axis: axis.step_bytes, reverse=True)
    channels = sorted(_channels(element), key=lambda channel: channel.offset_bytes)
    if len({channel.dtype for channel in channels}) != 1:
        raise _unreadable(path.name, f"its channels have the types {', '.join(str(each.dtype) for each in channels)}")
    by_tag = sorted(channels, key=lambda channel: channel.tag)
    is_rgb = [channel.tag for channel in by_tag] == RGB_TAGS and channels[0].dtype in RGB_DTYPES
    channels = by_tag if is_rgb else channels
    letters, counts = "".join(axis.letter for axis in axes), tuple(axis.count for axis in axes)
    layout = resolve_axes(path.name, "C" + letters, (len(channels), *counts), selection)
    y, x = axes[letters.index("Y")], axes[letters.index("X")]
    facts = ImageFacts(
        path=path,
        shape=layout.image_shape,
        dtype=check_dtype(path.name, channels[0].dtype),
        channels=("R", "G", "B") if is_rgb else tuple(channel.name for channel in channels),
        is_rgb=is_rgb,
        pixel_size_um=square_pixel_um(y.step_um, x.step_um, "um"),
        n_planes=layout.n_planes,
        format="LIF",
        z_step_um=next((axis.step_um for axis in axes if axis.letter == "Z"), None),
        z_place=layout.z_place(selection.plane),
    )
    offset, size = _block(path.name, element, blocks)
    _, *index = layout.corner(selection.plane, 0)
    plane = sum(place * axis.step_bytes for place, axis in zip(index, axes, strict=True))
    grid = PixelGrid(layout.image_shape, y.step_bytes, x.step_bytes, channels[0].dtype)
    ends = [plane + channel.offset_bytes + grid.span_bytes(grid.shape) for channel in channels]
    if min(channel.offset_bytes for channel in channels) < 0 or max(ends) > size:
        raise _unreadable(path.name, f"plane {selection.plane} ends at byte {max(ends)} of {size} bytes of its image")
    # Samples closer than a pixel lie interleaved.
    places = [
        (offset + plane + each.offset_bytes - sample, sample)
        for each in channels
        for sample in [each.offset_bytes if each.offset_bytes < x.step_bytes else 0]
    ]
    with ExitStack() as closing:
        file = OpenFile(path)
        closing.callback(file.close)
        source = StridedSource(facts, file, grid, places)
        closing.pop_all()
        return source


def _axes(element: Element) -> Iterator[LifAxis]:
    for each in element.findall("./Data/Image/ImageDescription/Dimensions/DimensionDescription"):
        count, unit = int(each.attrib["NumberOfElements"]), each.get("Unit", "")
        # Length is from the first to the last pixel, and negative where z was scanned downwards
        step = abs(float(each.attrib["Length"])) / (count - 1) if count > 1 else None
        letter = AXES.get(int(each.attrib["DimID"]), OTHER_AXIS)
        yield LifAxis(letter, count, int(each.attrib["BytesInc"]), length_um(step, unit))


def _channels(element: Element) -> Iterator[LifChannel]:
    for i, each in enumerate(element.findall("./Data/Image/ImageDescription/Channels/ChannelDescription")):
        kind, bits = int(each.attrib["DataType"]), int(each.attrib["Resolution"])
        fitting = [n_bits for of_kind, n_bits in SAMPLE_BYTES if of_kind == kind and 0 < bits <= n_bits]
        if not fitting:
            raise ValueError(f"channel {i} has samples of DataType {kind} and {bits} bits")
        dyes = [
            prop.findtext("./Value") for prop in each.iter("ChannelProperty") if prop.findtext("./Key") == "DyeName"
        ]
        name = next((dye for dye in dyes if dye), None) or each.get("LUTName") or str(i)
        dtype = np.dtype(SAMPLE_BYTES[kind, min(fitting)])
        yield LifChannel(name, int(each.attrib["ChannelTag"]), dtype, int(each.attrib["BytesInc"]))


def _block(name: str, element: Element, blocks: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """Return offset and size of the block of memory that holds an image's pixels."""
    memory = element.find("./Memory")
    wanted = None if memory is None else memory.get("MemoryBlockID")
    if wanted is None and len(blocks) == 1:  # a LOF file holds one, and may not name it
        return next(iter(blocks.values()))
    if wanted is None or wanted not in blocks:
        raise _unreadable(name, f"it is truncated or damaged: it lacks the pixels of {element.get('Name')} ({wanted})")
    return blocks[wanted]


def _unreadable(name: str, cause: str) -> ImageError:
    return ImageError(
        f"{name} cannot be read as LIF: {cause}",
        "expected a complete LIF or LOF file",
        "Copy the image again, or export it as OME-TIFF.",
    )
