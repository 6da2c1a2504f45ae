"""Overlaps straight from files of polygons, against the overlaps of the label images that these files draw."""

import tempfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Box, Labels
from cohortseg.errors import TableError
from cohortseg.kernels.overlap import count_overlaps
from cohortseg.shapes import polygonise, rasterise_into
from cohortseg.stitch import sweep
from cohortseg.stitch.sweep import sweep_overlaps
from cohortseg.stores.geoparquet import geo_metadata, to_arrow
from cohortseg.stores.wkb import WkbFile

SHAPE = (23, 19)
LABELS = hnp.arrays(np.uint32, SHAPE, elements=st.sampled_from([0, 0, 1, 2, 3, 70_000, 2**32 - 1]))


@pytest.fixture(autouse=True)
def _many_bands_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BAND_ROWS", 5)
    monkeypatch.setattr(sweep, "PIECE_ROWS", 2)


def write(path: Path, table: gpd.GeoDataFrame, covering: bool) -> Path:
    rows = to_arrow(table)
    metadata = geo_metadata(None, {"Polygon"})
    if not covering:
        rows = rows.drop_columns(["bbox"])
        metadata = {"geo": metadata["geo"].replace('"covering"', '"_"')}
    pq.write_table(rows.replace_schema_metadata(metadata), path, row_group_size=2)
    return path


def swept(
    below: gpd.GeoDataFrame, above: gpd.GeoDataFrame, *, workers: int = 0, covering: bool = True, shape: Any = SHAPE
) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as name:
        paths = [write(Path(name) / f"{i}.parquet", each, covering) for i, each in enumerate((below, above))]
        with WkbFile(paths[0]) as one, WkbFile(paths[1]) as other:
            return sweep_overlaps(one, other, shape, workers=workers)


def labels_of(table: gpd.GeoDataFrame) -> Labels:
    return rasterise_into(table.geometry.to_numpy(), table["cell_id"].to_numpy(), Box(0, 0, *SHAPE))[0]


def by_labels(a: Labels, b: Labels) -> list[tuple[float, ...]]:
    """Return the rows that the overlaps of two label images have."""
    pairs, counts = count_overlaps(a, b)
    unions = [np.count_nonzero((a == lower) | (b == upper)) for lower, upper in pairs]
    return [(*pair, n, n / union) for pair, n, union in zip(pairs.tolist(), counts.tolist(), unions, strict=True)]


def rows_of(table: pd.DataFrame) -> list[tuple[float, ...]]:
    return list(table.itertuples(index=False, name=None))


def cells(*shapes: shapely.Geometry | None) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"cell_id": np.arange(1, len(shapes) + 1)}, geometry=list(shapes))


@settings(deadline=None, max_examples=25)
@given(LABELS, LABELS, st.integers(0, 3), st.booleans(), st.randoms(use_true_random=False))
def test_traced_labels_overlap_as_the_labels_do(a, b, workers: int, covering: bool, random) -> None:
    tables = []
    for labels in (a, b):
        table = polygonise(labels)
        order = random.sample(range(len(table)), len(table))
        tables.append(table.iloc[order].reset_index(drop=True))
    assert rows_of(swept(*tables, workers=workers, covering=covering)) == by_labels(a, b)


def foreign(seed: int) -> gpd.GeoDataFrame:
    """Return discs with float vertices that overlap, some beyond the image, some in two parts, one missing."""
    rng = np.random.default_rng(seed)
    centres = shapely.points(rng.uniform(-3, 26, (30, 2)))
    shapes = shapely.buffer(centres, rng.uniform(0.2, 5, 30))
    shapes[3] = shapely.MultiPolygon([shapes[3], shapely.box(40, 2, 41.5, 3)])
    shapes[5] = shapely.MultiPolygon([shapes[5], shapely.buffer(centres[6], 4.4)])
    shapes[9] = None
    return gpd.GeoDataFrame({"cell_id": rng.permutation(40)[:30] + 1}, geometry=shapes)


@pytest.mark.parametrize("covering", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_foreign_polygons_overlap_as_the_images_drawn_of_them(
    seed: int, covering: bool, caplog: pytest.LogCaptureFixture
) -> None:
    below, above = foreign(seed), foreign(seed + 100)
    table = swept(below, above, covering=covering)
    assert rows_of(table) == by_labels(labels_of(below), labels_of(above))
    assert len(table) > 10
    taken = [
        rasterise_into(t.geometry.to_numpy(), t["cell_id"].to_numpy(), Box(0, 0, *SHAPE))[1] for t in (below, above)
    ]
    for number, n in enumerate(taken):
        assert f"{number}.parquet: polygons overlap on {n} px" in caplog.text


def test_the_result_is_the_same_whatever_the_workers_bands_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    below, above = foreign(1), foreign(2)
    first = swept(below, above)
    for workers, band_rows, piece_rows in ((1, 1, 1), (3, 7, 3), (8, 1000, 1000)):
        monkeypatch.setattr(sweep, "BAND_ROWS", band_rows)
        monkeypatch.setattr(sweep, "PIECE_ROWS", piece_rows)
        pd.testing.assert_frame_equal(swept(below, above, workers=workers), first, check_exact=True)


def test_planes_without_cells_or_common_pixels_have_no_overlaps() -> None:
    square, other, none = cells(shapely.box(2, 2, 6, 6)), cells(shapely.box(6, 2, 9, 6)), cells()
    for below, above in ((square, other), (square, none), (none, square), (none, none)):
        table = swept(below, above)
        assert len(table) == 0
        assert [str(kind) for kind in table.dtypes] == ["int64", "int64", "int64", "float64"]
        assert list(table.columns) == ["lower_id", "upper_id", "overlap_px", "iou"]


def test_cells_beyond_the_shape_are_cut_or_passed_over() -> None:
    table = cells(
        shapely.box(2, 2, 6, 6), shapely.box(2, 30, 6, 36), shapely.box(2, 40, 6, 46), shapely.box(15, 20, 30, 50)
    )
    assert rows_of(swept(table, table)) == [(1, 1, 16, 1.0), (4, 4, 12, 1.0)]
    assert rows_of(swept(table, table, shape=(3, 4))) == [(1, 1, 2, 1.0)]


def test_progress_adds_up_to_the_pixels_of_both_planes(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", foreign(0), covering=True)
    told: list[int] = []
    with WkbFile(path) as one, WkbFile(path) as other:
        sweep_overlaps(one, other, SHAPE, workers=2, on_read=told.append)
    assert sum(told) == 2 * SHAPE[0] * SHAPE[1]


@pytest.mark.parametrize("ids", [[1, 1], [0, 1], [-3, 1], [1.0, 2.0]])
def test_ids_that_are_no_numbering_are_refused(ids: list[float]) -> None:
    table = gpd.GeoDataFrame({"cell_id": ids}, geometry=[shapely.box(0, 0, 2, 2), shapely.box(4, 4, 6, 6)])
    with pytest.raises(TableError, match=r"cell_id of .*1.parquet are not a numbering"):
        swept(foreign(0), table)


def test_a_fault_in_a_thread_names_the_file() -> None:
    with pytest.raises(TableError, match=r"1.parquet: row 2 holds another kind of geometry"):
        swept(foreign(0), cells(shapely.box(0, 0, 1, 1), None, shapely.LineString([(0, 0), (3, 3)])), workers=3)


def test_a_covering_column_that_is_wrong_is_refused(tmp_path: Path) -> None:
    rows = to_arrow(cells(shapely.box(2, 2, 6, 20)))
    wrong = to_arrow(cells(shapely.box(2, 2, 6, 6)))["bbox"]
    rows = rows.set_column(rows.schema.get_field_index("bbox"), "bbox", wrong)
    path = tmp_path / "p.parquet"
    pq.write_table(rows.replace_schema_metadata(geo_metadata(None, {"Polygon"})), path)
    with WkbFile(path) as one, WkbFile(path) as other, pytest.raises(TableError, match="out of the bounds"):
        sweep_overlaps(one, other, SHAPE, workers=1)
