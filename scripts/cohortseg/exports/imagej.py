"""ImageJ's ROI zip: one ROI a cell, written one after the other."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cohortseg.exports.cells import CellSource
from cohortseg.exports.extra import exports_extra
from cohortseg.stores.atomic import atomic_path

# The header of a polygon has 16 bits for their number, that of a composite 32.
_MOST_PLACES = 2**16 - 1
_MOVE_TO, _LINE_TO, _CLOSE = 0.0, 1.0, 4.0


def write_rois(path: Path, source: CellSource) -> None:
    """Write a zip of ROIs named by `cell_id`, which ImageJ's ROI Manager opens.

    A cell is a polygon ROI along pixel edges; one with holes, of several pieces or of more than 65,535 places is a
    composite ROI. Coordinates are
    whole numbers where ImageJ can hold them (16 bits: cells that end before 60,536 px), beyond that 32-bit numbers with
    ImageJ's flag for subpixel resolution, exact up to 16,777,216 px. The bytes depend on the cells only. Memory holds
    the zip's list of names, about 1 KB a cell.

    Raises
    ------
    MissingExtraError
        roifile is not installed.
    TableError
        As `CellSource.batches`.
    """
    with exports_extra(path.name, "roifile"):
        import roifile
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED, allowZip64=True) as stored,
    ):
        for batch in source.batches():
            for cell_id, geometry in zip(batch.cell_ids.tolist(), batch.geometries, strict=True):
                # an entry made so has the earliest date that a zip can hold
                stored.writestr(zipfile.ZipInfo(f"{cell_id}.roi"), _roi(roifile, geometry, str(cell_id)))


def _roi(roifile: Any, geometry: shapely.Polygon | shapely.MultiPolygon, name: str) -> bytes:
    rings = [ring for part in shapely.get_parts(geometry) for ring in (part.exterior, *part.interiors)]
    places = shapely.get_coordinates(rings[0])[:-1]
    if len(rings) > 1 or len(places) > _MOST_PLACES:
        return _composite(roifile, rings, name)
    # Numbers that are not whole are of another program, and stored as they are.
    whole = bool((places == np.rint(places)).all())
    roi = roifile.ImagejRoi.frompoints(places.astype(np.int64) if whole else places, name=name)
    roi.roitype = roifile.ROI_TYPE.POLYGON
    return bytes(roi.tobytes())


def _composite(roifile: Any, rings: list[shapely.LinearRing], name: str) -> bytes:
    """Return a ROI of several rings, which ImageJ fills even-odd: a ring within another is a hole."""
    roi = roifile.ImagejRoi()
    roi.roitype, roi.name = roifile.ROI_TYPE.RECT, name
    path = np.concatenate([_path(shapely.get_coordinates(ring)[:-1]) for ring in rings])
    roi.multi_coordinates, roi.shape_roi_size = path, len(path)
    left, top, right, bottom = shapely.total_bounds(rings)
    roi.left, roi.top, roi.right, roi.bottom = int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))
    return bytes(roi.tobytes())


def _path(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a ring as a path of ImageJ: move to the first place, lines to the others, close."""
    steps = np.column_stack([np.full(len(places), _LINE_TO), places])
    steps[0, 0] = _MOVE_TO
    return np.append(steps.ravel(), _CLOSE).astype(np.float32)
