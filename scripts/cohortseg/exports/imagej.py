"""ImageJ's ROI zip: one ROI a cell, written one after the other.

The format is that of ImageJ's `ij.io.RoiDecoder`, versions 217 and later: a header of 64 bytes, coordinates, a second
header of 64 bytes and the name; all numbers are big-endian.
"""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from cohortseg.exports.cells import CellSource
from cohortseg.stores.atomic import atomic_path

# Magic, version, type, (top, left, bottom, right, number of places), size of a composite, options, second header.
_HEADER = struct.Struct(">4sHBx5H18xi10xH8xi")
# Where the name is, and how long.
_SECOND_HEADER = struct.Struct(">16xii40x")
_VERSION = 229
_POLYGON, _RECT = 0, 1
_SUBPIXEL = 0x80
# ImageJ takes 16 bits as a negative number from here on: RoiDecoder.getShort.
_LARGEST, _SMALLEST = 60_535, -5_000
_MOST_PLACES = 2**16 - 1
_MOVE_TO, _LINE_TO, _CLOSE = 0.0, 1.0, 4.0


def write_rois(path: Path, source: CellSource) -> None:
    """Write a zip of ROIs named by `cell_id`, which ImageJ's ROI Manager opens.

    A cell is a polygon ROI along pixel edges; one with holes or of several pieces is a composite ROI. Coordinates are
    whole numbers where ImageJ can hold them (16 bits: cells that end before 60,536 px), beyond that 32-bit numbers with
    ImageJ's flag for subpixel resolution, exact up to 16,777,216 px. The bytes depend on the cells only. Memory holds
    the zip's list of names, about 1 KB a cell.

    Errors are those of `CellSource.batches`.
    """
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED, allowZip64=True) as stored,
    ):
        for batch in source.batches():
            names = list(map(str, batch.cell_ids.tolist()))
            for name, roi in zip(names, encoded_rois(batch.geometries, names), strict=True):
                # an entry made so has the earliest date that a zip can hold
                stored.writestr(zipfile.ZipInfo(f"{name}.roi"), roi)


def encoded_rois(geometries: NDArray[np.object_], names: list[str]) -> Iterator[bytes]:
    """Yield the file of each ROI, from its (n,) (Multi)Polygon, x right, y down, and its name."""
    parts, of_part = shapely.get_parts(geometries, return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    n_rings = np.bincount(of_part[of_ring], minlength=len(names))
    first_ring = np.cumsum(n_rings) - n_rings
    # The header of a polygon has 16 bits for the number of places, that of a composite 32.
    is_simple = (n_rings == 1) & (shapely.get_num_coordinates(geometries) <= _MOST_PLACES)
    simple = _polygons(rings[first_ring[is_simple]])
    for name, ring, n, plain in zip(names, first_ring, n_rings, is_simple, strict=True):
        head, coordinates = next(simple) if plain else _composite(rings[ring : ring + n])
        told = name.encode("utf-16-be")
        end = _HEADER.size + len(coordinates)
        second = _SECOND_HEADER.pack(end + _SECOND_HEADER.size, len(told) // 2)
        yield b"".join((_HEADER.pack(b"Iout", _VERSION, *head, end), coordinates, second, told))


def _polygons(rings: NDArray[np.object_]) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Yield what the header says, from the type on, and the coordinates of each polygon.

    Whole numbers are counted from the left and the top, x of all places before y; 32-bit numbers follow, from the
    image's corner, where 16 bits or whole numbers are not enough.
    """
    places, of_place = shapely.get_coordinates(rings, return_index=True)
    ends = np.cumsum(np.bincount(of_place, minlength=len(rings)))
    places, of_place = np.delete(places, ends - 1, axis=0), np.delete(of_place, ends - 1)  # a ring's last is its first
    ends -= np.arange(1, len(rings) + 1)
    starts = np.append(0, ends[:-1])
    bounds = np.rint(shapely.bounds(rings)).astype(np.int64).reshape(-1, 4)
    x, y = (np.rint(places).astype(np.int64) - bounds[of_place, :2]).astype(">i2").T.copy()
    exact_x, exact_y = places.astype(">f4").T.copy()
    fractions = np.bincount(of_place, (places != np.rint(places)).any(axis=1), minlength=len(rings)) > 0
    subpixel = fractions | (bounds > _LARGEST).any(axis=1) | (bounds < _SMALLEST).any(axis=1)
    boxes = _boxes(bounds + np.array([0, 0, 1, 1]))
    for box, fine, start, end in zip(boxes, subpixel.tolist(), starts.tolist(), ends.tolist(), strict=True):
        columns = (x, y, exact_x, exact_y) if fine else (x, y)
        coordinates = b"".join(column[start:end].tobytes() for column in columns)
        yield (_POLYGON, *box, end - start, 0, _SUBPIXEL if fine else 0), coordinates


def _composite(rings: NDArray[np.object_]) -> tuple[tuple[int, ...], bytes]:
    """Return the same of several rings, which ImageJ fills even-odd: a ring within another is a hole."""
    path = np.concatenate([_path(shapely.get_coordinates(ring)[:-1]) for ring in rings])
    left, top, right, bottom = shapely.total_bounds(rings)
    (box,) = _boxes(np.array([[left, top, np.ceil(right), np.ceil(bottom)]]).astype(np.int64))
    return (_RECT, *box, 0, len(path), 0), path.astype(">f4").tobytes()


def _boxes(bounds: NDArray[np.int64]) -> list[list[int]]:
    """Return top, left, bottom, right as 16 bits, of which ImageJ needs no more where coordinates have 32."""
    boxes: list[list[int]] = (bounds[:, [1, 0, 3, 2]] & 0xFFFF).tolist()
    return boxes


def _path(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a ring as a path of ImageJ: move to the first place, lines to the others, close."""
    steps = np.column_stack([np.full(len(places), _LINE_TO), places])
    steps[0, 0] = _MOVE_TO
    return np.append(steps.ravel(), _CLOSE).astype(np.float32)
