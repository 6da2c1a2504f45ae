"""Step export: results in, files for other programs out."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import geopandas
import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import minimum_filter

from cohortseg.arrays import Box
from cohortseg.errors import CohortsegError, ImageError, MissingFileError, SettingsError
from cohortseg.settings import EXPORT_FILES, QuantifySettings, load_settings
from cohortseg.shapes import polygonise
from cohortseg.steps import export
from cohortseg.steps.export_folders import export_folders
from cohortseg.steps.planes import label_reader
from cohortseg.steps.quantify import quantify_file
from cohortseg.stores.polygons import PolygonWriter

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:.*:UserWarning:ome_zarr"
)


@pytest.fixture
def results(sample: Any, tmp_path: Path) -> Path:
    """Return a folder of results with one measured sample, `field`."""
    folder = tmp_path / "made" / "field"
    folder.mkdir(parents=True)
    for path in (sample.polygons, sample.metadata):
        (folder / path.name).write_bytes(path.read_bytes())
    quantify_file(
        sample.image,
        sample.polygons,
        sample.metadata,
        cells=folder / "cells.parquet",
        settings=QuantifySettings(),
    )
    return folder.parent


def run(job: Callable[..., Any], results: Path, file: str, image: Path | None) -> Path:
    inputs = {
        name.split(".")[0]: results / "field" / name for name in ("polygons.parquet", "metadata.json", "cells.parquet")
    }
    given = inputs if image is None else {**inputs, "image": image}
    snakemake = job(
        "export", input=given, output={"file": f"exports/{file}"}, sample="field", settings={"image": image is not None}
    )
    export.main(snakemake)
    return Path(snakemake.output.file)


@pytest.mark.parametrize("file", ["cells.geojson", "xenium.geojson", "rois.zip", "cells.h5ad"])
def test_each_file_is_made_by_its_name(results: Path, sample: Any, job: Callable[..., Any], file: str) -> None:
    path = run(job, results, file, None)
    assert path.is_file()
    assert [each.name for each in path.parent.iterdir()] == [file]


def test_the_measurements_of_the_table_are_in_the_files(results: Path, job: Callable[..., Any]) -> None:
    cells = pd.read_parquet(results / "field" / "cells.parquet")
    table = anndata.io.read_h5ad(run(job, results, "cells.h5ad", None))
    assert list(table.var_names) == ["DAPI", "CD45"]
    np.testing.assert_array_equal(table.X, cells[["mean_DAPI", "mean_CD45"]].to_numpy(np.float32))
    np.testing.assert_allclose(table.obsm["spatial"], cells[["centroid_x", "centroid_y"]] * 0.5)
    assert json.loads(table.uns["cohortseg"]["image_checksum"])["sha256"]
    features = json.loads(run(job, results, "cells.geojson", None).read_text(encoding="utf-8"))["features"]
    assert [each["properties"]["measurements"]["mean_CD45"] for each in features] == cells["mean_CD45"].tolist()


def test_all_that_can_be_measured_has_its_place(results: Path, sample: Any, job: Callable[..., Any]) -> None:
    cells = results / "field" / "cells.parquet"
    quantify_file(
        sample.image,
        sample.polygons,
        sample.metadata,
        cells=cells,
        settings=QuantifySettings(
            statistics=("median", "mean", "max"), percentiles=(5, 97.5), ring_px=3, background="image", neighbours_px=40
        ),
        nuclei=(_nuclei_of(sample, results / "nuclei.parquet"), sample.metadata),
    )
    measured = pd.read_parquet(cells)
    table = anndata.io.read_h5ad(run(job, results, "cells.h5ad", None))
    statistics = ["mean", "median", "max", "p5", "p97_5"]
    parts = [f"{each}_{part}" for part in ("nucleus", "cytoplasm", "ring") for each in statistics]
    assert list(table.var_names) == ["DAPI", "CD45"]
    assert set(table.layers) == {*statistics[1:], *parts, "background"}
    columns = [[f"{layer}_{channel}" for channel in table.var_names] for layer in table.layers]
    for layer, names in zip(table.layers, columns, strict=True):
        np.testing.assert_array_equal(table.layers[layer], measured[names].to_numpy(np.float32))
    own = {*measured} - {name for names in columns for name in names} - {"mean_DAPI", "mean_CD45"}
    assert set(table.obs) == {*own, "sample", "flow_error"}
    assert table.obs["nucleus_id"].dtype == pd.Int64Dtype()
    assert table.obs["nucleus_id"].tolist()[:2] == [1001, 1002]
    assert pd.isna(table.obs["nucleus_id"].iloc[-1])
    for name in ("n_nuclei", "n_neighbours"):
        assert table.obs[name].tolist() == measured[name].tolist()
    features = json.loads(run(job, results, "cells.geojson", None).read_text(encoding="utf-8"))["features"]
    for feature, (_, row) in zip(features, measured.drop(columns="cell_id").iterrows(), strict=True):
        told = feature["properties"]["measurements"]
        assert {name: told[name] for name in told if name != "flow_error"} == row.dropna().to_dict()
    import spatialdata

    store = spatialdata.read_zarr(run(job, results, "spatialdata.zarr", sample.image))
    pd.testing.assert_frame_equal(store["table"].obs[[*own]], table.obs[[*own]])


def _nuclei_of(sample: Any, path: Path) -> Path:
    """Write a nucleus, numbered from 1001, in each cell but the last, and return where."""
    labels = label_reader(sample.polygons)(Box(0, 0, *sample.pixels.shape))
    within = (minimum_filter(labels, 7) == labels) & (labels > 0) & (labels < labels.max())
    made = polygonise(np.where(within, labels + 1000, 0).astype(np.uint32))
    made = made.assign(area_px=1, score=0.5, flow_error=0.0, touches_edge=False)
    with PolygonWriter(path, shape=sample.pixels.shape) as writer:
        writer.append(made.assign(centroid_x=made.centroid.x, centroid_y=made.centroid.y))
    return path


def test_the_image_is_copied_with_its_labels(results: Path, sample: Any, job: Callable[..., Any]) -> None:
    import spatialdata

    store = spatialdata.read_zarr(run(job, results, "spatialdata.zarr", sample.image))
    np.testing.assert_array_equal(store["image"].data.compute(), tifffile.imread(sample.image))
    outlines = geopandas.read_parquet(sample.polygons)
    labels = store["labels"].data.compute()
    for number, area in zip(outlines["cell_id"], outlines["area_px"], strict=True):
        assert (labels == number).sum() == area
    assert store["table"].n_obs == len(outlines)


def test_channels_of_any_name_are_called_as_in_the_table(results: Path, sample: Any, job: Callable[..., Any]) -> None:
    import spatialdata

    named = results / "named.ome.tif"
    pixels = np.concatenate([tifffile.imread(sample.image)] * 2)
    names = ["CD 45", "a/b", "a/b", "a/b_1"]
    tifffile.imwrite(named, pixels, ome=True, metadata={"axes": "CYX", "Channel": {"Name": names}})
    folder = results / "field"
    quantify_file(
        named,
        sample.polygons,
        sample.metadata,
        cells=folder / "cells.parquet",
        settings=QuantifySettings(),
    )
    store = spatialdata.read_zarr(run(job, results, "spatialdata.zarr", named))
    channels = store["image"].coords["c"].to_numpy().tolist()
    assert channels == store["table"].var_names.tolist() == ["CD_45", "a_b_1", "a_b_2", "a_b_1_3"]
    np.testing.assert_array_equal(store["image"].data.compute(), pixels)


def test_another_image_is_refused(results: Path, tmp_path: Path, job: Callable[..., Any]) -> None:
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.zeros((2, 30, 40), np.uint16))
    with pytest.raises(SystemExit):
        run(job, results, "spatialdata.zarr", other)
    failure = json.loads((tmp_path / "results/field/exports/failure.export.spatialdata.zarr.json").read_text())
    assert failure["found"] == "other.tif is 30 x 40 px now"
    assert failure["error"] == ImageError.__name__


def test_folders_of_the_command_line_have_outlines_only(results: Path, tmp_path: Path) -> None:
    (results / "field" / "cells.parquet").unlink()
    lines = export_folders([results], ["geojson", "anndata", "spatialdata"], None, tmp_path, with_image=False)
    made = [Path(line) for line in lines]
    assert made == [
        results / "field" / "exports" / name for name in ("cells.geojson", "cells.h5ad", "spatialdata.zarr")
    ]
    table = anndata.io.read_h5ad(made[1])
    assert table.n_vars == 0
    assert table.n_obs == len(geopandas.read_file(made[0]))
    (results / "field" / "metadata.json").unlink()
    (again,) = export_folders([results / "field"], ["imagej"], tmp_path / "out", tmp_path, with_image=True)
    assert again == str(tmp_path / "out" / "field" / "rois.zip")


def test_the_image_of_a_folder_is_found_or_asked_for(results: Path, sample: Any, tmp_path: Path) -> None:
    import spatialdata

    (made,) = export_folders([results], ["spatialdata"], tmp_path / "out", tmp_path, with_image=True)
    assert "image" in spatialdata.read_zarr(made)
    metadata = results / "field" / "metadata.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "image": "moved.tif"}))
    with pytest.raises(MissingFileError, match=r"moved\.tif.*--no-image"):
        list(export_folders([results], ["spatialdata"], tmp_path / "out", tmp_path, with_image=True))


def test_a_file_that_fails_holds_back_no_other(results: Path, tmp_path: Path) -> None:
    metadata = results / "field" / "metadata.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "pixel_size_um": None}))
    lines = export_folders([results], ["xenium", "imagej"], tmp_path / "out", tmp_path, with_image=True)
    failed = next(lines)
    assert "xenium.geojson: FAILED: " in failed
    assert "pixel_size_um" in failed
    assert next(lines) == str(tmp_path / "out" / "field" / "rois.zip")
    with pytest.raises(CohortsegError, match=r"^1 of 2 files were not written; the others are done\. See the lines"):
        next(lines)
    assert [path.name for path in (tmp_path / "out" / "field").iterdir()] == ["rois.zip"]


def test_folders_that_cannot_be_exported_are_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no polygons"):
        list(export_folders([tmp_path / "none"], ["geojson"], None, tmp_path, with_image=True))
    with pytest.raises(SettingsError, match="two samples would be written to"):
        list(export_folders([results, results / "field"], ["geojson"], tmp_path / "out", tmp_path, with_image=True))


def test_the_rule_makes_all_files_and_no_other() -> None:
    rules = (ROOT / "workflow" / "rules" / "export.smk").read_text(encoding="utf-8")
    patterns = re.findall(r'file=r"(.*)"', rules)
    found = [name.replace("\\", "") for pattern in patterns for name in pattern.split("|")]
    assert sorted(found) == sorted(EXPORT_FILES.values())
    assert patterns[1:] == [r"spatialdata\.zarr"]


def test_formats_are_named_once() -> None:
    assert load_settings({"export": {"formats": ["geojson", "anndata"]}}).export.files() == [
        "cells.geojson",
        "cells.h5ad",
    ]
    with pytest.raises(SettingsError, match="names each once"):
        load_settings({"export": {"formats": ["geojson", "geojson"]}})
    with pytest.raises(SettingsError, match="formats"):
        load_settings({"export": {"formats": ["qupath"]}})
