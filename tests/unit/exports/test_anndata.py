""".h5ad files, read by anndata, scanpy and as squidpy expects them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy
import shapely

from cohortseg.errors import MissingExtraError, TableError
from cohortseg.exports import CellSource, cells, h5ad, write_anndata
from cohortseg.exports.anndata import write_cohort
from cohortseg.stores import polygons

COHORT_NAMES = ["field:1", "field:2", "field:3", "field:4", "other:1", "other:2"]


def written(folder: Path, source: CellSource) -> Any:
    write_anndata(folder / "cells.h5ad", source)
    return anndata.io.read_h5ad(folder / "cells.h5ad")


def test_channels_are_variables_and_statistics_layers(source: CellSource, tmp_path: Path) -> None:
    table = written(tmp_path, source)
    assert list(table.var_names) == ["DAPI", "CD45"]
    assert list(table.obs_names) == ["1", "2", "3", "4"]
    assert table.X.dtype == np.float32
    np.testing.assert_array_equal(table.X, [[10, 1], [20, np.nan], [30, 3], [40, 4]])
    assert set(table.layers) == {"median"}
    np.testing.assert_array_equal(table.layers["median"], [[v, np.nan] for v in (11, 21, 31, 41)])
    assert table.obs["cell_id"].tolist() == [1, 2, 3, 4]
    assert table.obs["area_px"].dtype == np.int64
    assert table.obs["touches_edge"].dtype == bool
    assert table.obs["flow_error"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    assert table.obs["sample"].dtype == "category"
    assert set(table.obs["sample"]) == {"field"}
    assert not {"mean_DAPI", "mean_CD45", "median_DAPI"} & set(table.obs)


def test_places_are_in_micrometres_where_the_pixel_size_is_known(
    source: CellSource, make: Callable[..., CellSource], outlines: list[Any], tmp_path: Path
) -> None:
    table = written(tmp_path, source)
    middles = np.array([[shape.centroid.x, shape.centroid.y] for shape in outlines])
    assert table.obsm["spatial"].dtype == np.float64
    np.testing.assert_allclose(table.obsm["spatial"], middles * 0.5)
    assert table.uns["spatial_unit"] == "micrometer"
    unknown = written(tmp_path, make("unknown", outlines, None, pixel_size_um=None))
    np.testing.assert_allclose(unknown.obsm["spatial"], middles)
    assert unknown.uns["spatial_unit"] == "pixel"


def test_it_says_how_it_was_made(source: CellSource, tmp_path: Path) -> None:
    facts = written(tmp_path, source).uns["cohortseg"]
    assert facts["X"] == "mean"
    assert facts["sample"] == "field"
    assert facts["image"] == "images/field.tif"
    assert json.loads(facts["model"]) == {"name": "nuclei-mini", "sha256": "ab"}
    assert json.loads(facts["settings"]) == {"model": "nuclei-mini"}


def test_scanpy_analyses_it(make: Callable[..., CellSource], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = pd.DataFrame({f"mean_{name}": random.gamma(2, 100, 60) for name in "ABCDE"})
    table = written(tmp_path, make("field", [shapely.box(i, 0, i + 1, 1) for i in range(60)], values))
    scanpy.pp.normalize_total(table)
    scanpy.pp.log1p(table)
    scanpy.pp.pca(table, n_comps=3)
    assert table.obsm["X_pca"].shape == (60, 3)
    # What squidpy's graph of neighbours takes: a row a cell, of two numbers.
    assert table.obsm["spatial"].shape == (60, 2)
    assert np.isfinite(table.obsm["spatial"]).all()


@pytest.mark.parametrize("n_cells", [0, 1])
@pytest.mark.parametrize("measured", [True, False])
def test_no_cells_and_no_channels_are_tables_too(
    make: Callable[..., CellSource], tmp_path: Path, n_cells: int, measured: bool
) -> None:
    outlines = [shapely.box(0, 0, 4, 4)] * n_cells
    values = pd.DataFrame({"mean_A": np.full(n_cells, 7.0), "median_A": np.full(n_cells, 7.0)}) if measured else None
    table = written(tmp_path, make("field", outlines, values))
    assert table.shape == (n_cells, int(measured))
    assert set(table.layers) == ({"median"} if measured else set())
    assert table.obsm["spatial"].shape == (n_cells, 2)
    assert table.obs["area_px"].tolist() == [16] * n_cells
    table.write_h5ad(tmp_path / "again.h5ad")


def test_the_file_is_the_same_however_often_and_in_how_many_pieces(
    source: CellSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_anndata(tmp_path / "one.h5ad", source)
    write_anndata(tmp_path / "two.h5ad", source)
    assert (tmp_path / "one.h5ad").read_bytes() == (tmp_path / "two.h5ad").read_bytes()
    monkeypatch.setattr(h5ad, "_CHUNK_ROWS", 3)
    write_anndata(tmp_path / "pieces.h5ad", source)
    one, pieces = (anndata.io.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("one", "pieces"))
    pd.testing.assert_frame_equal(one.obs, pieces.obs)
    np.testing.assert_array_equal(one.X, pieces.X)


def test_many_batches_are_the_table_in_one(
    make: Callable[..., CellSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polygons, "ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(cells, "_BATCH_ROWS", 5)
    monkeypatch.setattr(h5ad, "_CHUNK_ROWS", 4)
    values = pd.DataFrame({"mean_A": np.arange(40.0), "kind": [f"é{i}" for i in range(40)]})
    table = written(tmp_path, make("field", [shapely.box(i, 0, i + 1, 1) for i in range(40)], values))
    assert table.X[:, 0].tolist() == list(range(40))
    assert table.obs["kind"].tolist() == [f"é{i}" for i in range(40)]
    assert table.obsm["spatial"][:, 0].tolist() == [(i + 0.5) / 2 for i in range(40)]


@pytest.fixture
def other(make: Callable[..., CellSource]) -> CellSource:
    """Return a sample with a channel that `field` lacks, and without one that it has."""
    values = pd.DataFrame({"mean_DAPI": [1.0, 2.0], "mean_CD8": [3.0, 4.0], "kind": ["x", "y"]})
    return make("other", [shapely.box(0, 0, 4, 4), shapely.box(9, 9, 11, 11)], values)


def test_a_cohort_is_what_anndata_makes_of_its_samples(source: CellSource, other: CellSource, tmp_path: Path) -> None:
    write_cohort(tmp_path / "cohort.h5ad", [source, other])
    cohort = anndata.io.read_h5ad(tmp_path / "cohort.h5ad")
    apart = {each.sample: written(tmp_path, each) for each in (source, other)}
    expected = anndata.concat(apart, join="outer", index_unique=":")
    assert list(cohort.obs_names) == COHORT_NAMES
    assert list(cohort.var_names) == ["DAPI", "CD45", "CD8"]
    expected = expected[:, cohort.var_names].copy()
    np.testing.assert_array_equal(cohort.X, expected.X)
    np.testing.assert_array_equal(cohort.layers["median"], expected.layers["median"])
    np.testing.assert_array_equal(cohort.obsm["spatial"], expected.obsm["spatial"])
    assert cohort.obs["sample"].dtype == "category"
    assert cohort.obs["sample"].tolist() == ["field"] * 4 + ["other"] * 2
    assert cohort.obs["kind"].tolist() == ["", "", "", "", "x", "y"]
    np.testing.assert_array_equal(cohort.obs["eccentricity"], [0.1, 0.2, 0.3, 0.4, np.nan, np.nan])
    assert list(json.loads(cohort.uns["cohortseg"]["samples"])) == ["field", "other"]


def test_a_cohort_of_unlike_pixel_sizes_is_in_pixels_and_says_so(
    source: CellSource, make: Callable[..., CellSource], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = make("unknown", [shapely.box(0, 0, 4, 4)], None, pixel_size_um=None)
    write_cohort(tmp_path / "cohort.h5ad", [source, unknown])
    cohort = anndata.io.read_h5ad(tmp_path / "cohort.h5ad")
    assert cohort.uns["spatial_unit"] == "pixel"
    assert cohort.obsm["spatial"][0].tolist() == [5, 6]
    assert "the pixel size of unknown is not known" in caplog.text


def test_ids_that_are_missing_leave_the_others_whole(
    make: Callable[..., CellSource], outlines: list[Any], tmp_path: Path
) -> None:
    linked = make("field", outlines, pd.DataFrame({"nucleus_id": pd.array([7, None, 9, 2**60 + 1], "Int64")}))
    table = written(tmp_path, linked)
    expected = pd.array([7, None, 9, 2**60 + 1], "Int64")
    pd.testing.assert_extension_array_equal(table.obs["nucleus_id"].array, expected)
    all_known = make("all", outlines, pd.DataFrame({"nucleus_id": pd.array([1, 2, 3, 4], "Int64")}))
    write_cohort(tmp_path / "cohort.h5ad", [linked, all_known, make("none", outlines, None)])
    cohort = anndata.io.read_h5ad(tmp_path / "cohort.h5ad")
    in_order = pd.array([*expected, 1, 2, 3, 4, *[None] * 4], "Int64")
    pd.testing.assert_extension_array_equal(cohort.obs["nucleus_id"].array, in_order)


def test_a_cell_that_has_no_pixel_left_has_a_place(
    make: Callable[..., CellSource], outlines: list[Any], tmp_path: Path
) -> None:
    centroids = pd.DataFrame({"centroid_x": [5.0, np.nan, 1, 1], "centroid_y": [6.0, np.nan, 1, 1]})
    table = written(tmp_path, make("field", outlines, centroids, pixel_size_um=1))
    middle = outlines[1].centroid
    np.testing.assert_allclose(table.obsm["spatial"][:2], [[5, 6], [middle.x, middle.y]])


@pytest.mark.parametrize("name", ["a/b", "sample", "_index", "..", ""])
def test_columns_that_obs_cannot_have_are_named(
    make: Callable[..., CellSource], outlines: list[Any], tmp_path: Path, name: str
) -> None:
    foreign = make("field", outlines, pd.DataFrame({name: [1.0, 2, 3, 4]}))
    with pytest.raises(TableError, match=rf"has a column called '{name}'"):
        write_anndata(tmp_path / "cells.h5ad", foreign)


def test_every_element_is_encoded_as_anndata_does(
    make: Callable[..., CellSource], outlines: list[Any], measured: pd.DataFrame, tmp_path: Path
) -> None:
    linked = measured.assign(nucleus_id=pd.array([7, None, 9, 10], "Int64"))
    written(tmp_path, make("field", outlines, linked)).write_h5ad(tmp_path / "own.h5ad")
    found = []
    for name in ("cells.h5ad", "own.h5ad"):
        encodings = {}
        with h5py.File(tmp_path / name) as file:
            for key in ("/", *_keys(file)):
                encodings[key] = [file[key].attrs.get(each) for each in ("encoding-type", "encoding-version")]
        found.append(encodings)
    assert found[0] == found[1]


def _keys(file: Any) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


@pytest.mark.parametrize("n_cells", [0, 3])
def test_it_opens_without_being_read(make: Callable[..., CellSource], tmp_path: Path, n_cells: int) -> None:
    values = pd.DataFrame({"mean_A": np.arange(n_cells, dtype=float), "mean_B": np.arange(n_cells, dtype=float)})
    write_anndata(tmp_path / "cells.h5ad", make("field", [shapely.box(0, 0, 4, 4)] * n_cells, values))
    table = anndata.io.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    assert table.isbacked
    assert table[:, "B"].to_memory().X[:, 0].tolist() == list(range(n_cells))
    table.file.close()


def test_a_failure_leaves_no_file(source: CellSource, tmp_path: Path) -> None:
    assert source.cells is not None
    pd.read_parquet(source.cells).assign(cell_id=[1, 2, 3, 9]).to_parquet(source.cells)
    with pytest.raises(TableError):
        write_anndata(tmp_path / "out" / "cells.h5ad", source)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_library_is_named(source: CellSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cohortseg\[exports\]'"):
        write_anndata(tmp_path / "cells.h5ad", source)
