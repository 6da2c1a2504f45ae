"""rois.zip, read by roifile."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.exports import CellSource, write_rois
from cohortseg.exports.imagej import encoded_rois


def opened(folder: Path, source: CellSource) -> list[Any]:
    write_rois(folder / "rois.zip", source)
    return list(roifile.roiread(folder / "rois.zip")) if source.n_cells() else []


def test_each_cell_is_a_polygon_along_pixel_edges(source: CellSource, outlines: list[Any], tmp_path: Path) -> None:
    rois = opened(tmp_path, source)
    assert [roi.name for roi in rois] == ["1", "2", "3", "4"]
    assert zipfile.ZipFile(tmp_path / "rois.zip").namelist() == ["1.roi", "2.roi", "3.roi", "4.roi"]
    for roi, outline in ((rois[0], outlines[0]), (rois[3], outlines[3])):
        assert roi.roitype == roifile.ROI_TYPE.POLYGON
        assert not roi.subpixelresolution
        assert roi.coordinates().tolist() == [list(map(int, place)) for place in outline.exterior.coords[:-1]]


def test_holes_and_pieces_are_rings_of_a_composite(source: CellSource, outlines: list[Any], tmp_path: Path) -> None:
    rois = opened(tmp_path, source)
    for roi, outline in zip(rois[1:3], outlines[1:3], strict=True):
        assert roi.composite
        parts = [shapely.Polygon(ring) for ring in roi.coordinates(multi=True)]
        assert len(parts) == 2
        # ImageJ fills even-odd
        assert parts[0].symmetric_difference(parts[1]).equals(outline)
        assert (roi.left, roi.top, roi.right, roi.bottom) == outline.bounds


@pytest.mark.parametrize("corner", [0, 32_760, 60_000, 65_530, 70_000, 200_001])
def test_places_far_into_a_wide_image_are_exact(make: Callable[..., CellSource], tmp_path: Path, corner: int) -> None:
    outline = shapely.Polygon([(corner, 5), (corner + 9, 5), (corner + 9, corner + 20), (corner, corner + 20)])
    (roi,) = opened(tmp_path, make("field", [outline], None))
    np.testing.assert_array_equal(roi.coordinates(), shapely.get_coordinates(outline)[:-1])
    assert roi.subpixelresolution == (corner + 20 > 60_535)


def test_outlines_of_other_programs_keep_their_fractions(make: Callable[..., CellSource], tmp_path: Path) -> None:
    outline = shapely.Polygon([(0.125, 0.5), (10.25, 0), (10.0625, 9.75)])
    (roi,) = opened(tmp_path, make("field", [outline], None))
    assert roi.coordinates().tolist() == [list(place) for place in outline.exterior.coords[:-1]]


def test_bytes_depend_on_the_cells_only(source: CellSource, tmp_path: Path) -> None:
    opened(tmp_path, source)
    before = (tmp_path / "rois.zip").read_bytes()
    opened(tmp_path, source)
    assert (tmp_path / "rois.zip").read_bytes() == before


def test_no_cells_are_an_empty_zip(make: Callable[..., CellSource], tmp_path: Path) -> None:
    opened(tmp_path, make("field", [], None))
    assert zipfile.ZipFile(tmp_path / "rois.zip").namelist() == []


def reference(outline: shapely.Polygon, name: str) -> bytes:
    """Return what roifile makes of a polygon, without its options for overlays."""
    places = shapely.get_coordinates(outline)[:-1]
    whole = bool((places == np.rint(places)).all())
    roi = roifile.ImagejRoi.frompoints(places.astype(np.int64) if whole else places, name=name)
    roi.roitype = roifile.ROI_TYPE.POLYGON
    roi.options &= roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    return bytes(roi.tobytes())


corners = st.integers(-9_000, 140_000) | st.integers(-80_000, 1_120_000).map(lambda eighths: eighths / 8)
triangles = st.lists(st.tuples(corners, corners), min_size=3, max_size=9, unique=True).map(shapely.Polygon)


@given(st.lists(triangles, max_size=5))
def test_polygons_are_to_the_byte_what_roifile_writes(outlines: list[shapely.Polygon]) -> None:
    names = [str(10**i) for i in range(len(outlines))]
    made = list(encoded_rois(np.array(outlines, dtype=object), names))
    expected = [reference(outline, name) for outline, name in zip(outlines, names, strict=True)]
    # of another version of roifile, another version of the format
    assert [roi[:4] + roi[6:] for roi in made] == [roi[:4] + roi[6:] for roi in expected]


@pytest.mark.parametrize("n_places", [65_534, 65_535, 65_536, 70_000])
def test_outlines_of_more_places_than_16_bits_count(n_places: int) -> None:
    angles = np.linspace(0, 2 * np.pi, n_places, endpoint=False)
    places = np.float32(30_000 + 9_000 * np.column_stack([np.cos(angles), np.sin(angles)])).astype(np.float64)
    (roi,) = map(roifile.ImagejRoi.frombytes, encoded_rois(np.array([shapely.Polygon(places)]), ["1"]))
    (ring,) = roi.coordinates(multi=True)
    np.testing.assert_array_equal(ring[:n_places], places)
