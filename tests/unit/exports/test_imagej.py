"""rois.zip, read by roifile."""

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import shapely

from cohortseg.errors import MissingExtraError
from cohortseg.exports import CellSource, write_rois


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


def test_a_missing_library_is_named(source: CellSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(MissingExtraError, match=r"library roifile\. Install it: pip install 'cohortseg\[exports\]'"):
        write_rois(tmp_path / "rois.zip", source)


@pytest.mark.parametrize("n_places", [65_535, 65_536])
def test_outlines_of_more_places_than_16_bits_count(
    make: Callable[..., CellSource], tmp_path: Path, n_places: int
) -> None:
    angles = np.linspace(0, 2 * np.pi, n_places, endpoint=False)
    places = np.float32(30_000 + 9_000 * np.column_stack([np.cos(angles), np.sin(angles)])).astype(np.float64)
    (roi,) = opened(tmp_path, make("field", [shapely.Polygon(places)], None))
    assert roi.composite == (n_places == 65_536)
    (ring,) = roi.coordinates(multi=True) if roi.composite else [roi.coordinates()]
    np.testing.assert_array_equal(ring[:n_places], places)
