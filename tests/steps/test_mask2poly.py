"""`cohortseg mask2poly`: label images of any origin to polygons, and back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import geopandas
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cohortseg.arrays import Box, Labels
from cohortseg.errors import ImageError, MissingFileError, SettingsError
from cohortseg.settings import QuantifySettings
from cohortseg.shapes import polygonise
from cohortseg.steps import mask2poly
from cohortseg.steps.assemble import read_order
from cohortseg.steps.mask2poly import polygons_of_masks, trace_mask
from cohortseg.steps.planes import label_reader
from cohortseg.steps.poly2mask import masks_of_folder
from cohortseg.steps.quantify import quantify_file
from cohortseg.stores.labels import LabelLayout, open_labels, write_labels
from cohortseg.stores.tables import read_label_image
from cohortseg.synthetic import crowded_field

N_REAL = 12
few_labels = st.sampled_from([0, 0, 1, 2, 3, 70_000, 2**32 - 1])
label_images = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24), elements=few_labels)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask2poly, "WINDOW_PX", 5)


def trace(labels: Labels, folder: Path, workers: int = 1) -> tuple[geopandas.GeoDataFrame, Labels]:
    """Return the polygons of labels, and the labels drawn from them."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "mask.npy", labels)
    traced = trace_mask(folder / "mask.npy", folder, plane=None, z_index=None, workers=workers)
    table = geopandas.read_parquet(folder / "polygons.parquet")
    assert traced.n_cells == len(table)
    assert traced.n_in_parts == (table.geom_type == "MultiPolygon").sum()
    return table, label_reader(folder / "polygons.parquet")(Box(0, 0, *labels.shape))


@pytest.mark.usefixtures("small_windows")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(labels=label_images)
def test_cells_across_windows_come_out_once_and_whole(labels: Labels, tmp_path_factory: pytest.TempPathFactory) -> None:
    table, drawn = trace(labels, tmp_path_factory.mktemp("any"))
    np.testing.assert_array_equal(drawn, labels)
    whole = polygonise(labels).set_index("cell_id")
    found = table.set_index("cell_id").sort_index()
    assert found.index.is_unique
    assert found.index.tolist() == whole.index.tolist()
    assert all(one.equals_exact(other) for one, other in zip(found.geometry, whole.geometry, strict=True))
    assert found["area_px"].tolist() == whole.area.tolist()
    at = [np.argwhere(labels == value) for value in found.index]
    assert np.allclose(found["centroid_y"], [each[:, 0].mean() + 0.5 for each in at])
    assert np.allclose(found["centroid_x"], [each[:, 1].mean() + 0.5 for each in at])
    ends = np.array(labels.shape) - 1
    assert found["touches_edge"].tolist() == [bool((each == 0).any() or (each == ends).any()) for each in at]


def test_one_cell_larger_than_a_window_is_traced_whole_with_those_inside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mask2poly, "WINDOW_PX", 16)
    monkeypatch.setattr(mask2poly, "_LARGE_PX", 32)
    labels = np.ones((40, 40), np.uint32)
    labels[10:20, 12:22] = 5
    labels[14:16, 14:16] = 1
    _, drawn = trace(labels, tmp_path)
    np.testing.assert_array_equal(drawn, labels)
    assert "label 1 spans 40 x 40 px" in caplog.text


@pytest.mark.usefixtures("small_windows")
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    _, labels = crowded_field((80, 90), n_cells=25, diameter_px=12.0, seed=2)
    found = []
    for workers in (1, 2, 8):
        trace(labels, tmp_path / "a", workers)
        found.append([(tmp_path / "a" / name).read_bytes() for name in ("polygons.parquet", "metadata.json")])
    assert found[0] == found[1] == found[2]


def test_an_image_without_labels_has_no_cells(tmp_path: Path) -> None:
    table, drawn = trace(np.zeros((7, 9), np.uint32), tmp_path)
    assert (len(table), drawn.any()) == (0, False)


PLANE = crowded_field((60, 80), n_cells=12, diameter_px=12.0, seed=3)[1]


def write_cv2(path: Path) -> None:
    cv2.imwrite(str(path), PLANE.astype(np.uint16))


def write_ngff(path: Path) -> None:
    layout = LabelLayout("cells", 64, 64, 0.5, None)
    write_labels(path, PLANE.shape, lambda box: PLANE[box.slices], layout=layout, workers=1)


def write_fractal(path: Path) -> None:
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in "czyx"]
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("0", data=PLANE[None, None].astype(np.uint32), chunks=(1, 1, 32, 32))
    scale = [{"type": "scale", "scale": [1, 1, 1, 1]}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]


def write_turned(path: Path) -> None:
    zarr.create_array(path, data=np.ascontiguousarray(PLANE.T), chunks=(32, 32), dimension_names=["x", "y"])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.png", write_cv2),
        ("a.tif", lambda path: tifffile.imwrite(path, PLANE.astype(np.uint16), compression="zlib", tile=(16, 16))),
        ("a.ome.tif", lambda path: tifffile.imwrite(path, PLANE[None, None].astype(np.int32), ome=True)),
        ("a.npy", lambda path: np.save(path, PLANE.astype(np.int64))),
        ("a.ome.zarr", write_ngff),
        ("a.zarr", write_fractal),
        ("a.zarr", write_turned),
    ],
)
def test_masks_of_any_format_are_traced(name: str, write: Callable[[Path], Any], tmp_path: Path) -> None:
    write(tmp_path / name)
    (traced,) = polygons_of_masks([tmp_path / name], tmp_path / "out", plane=None, as_stack=False)
    assert traced.folder == tmp_path / "out" / "a"
    assert not (tmp_path / "out" / "configs.yml").exists()
    (mask,) = masks_of_folder(tmp_path / "out", None, {})
    stored = open_labels(mask)
    assert stored.shape == PLANE.shape
    np.testing.assert_array_equal(stored.read(Box(0, 0, *PLANE.shape)), PLANE)
    metadata = json.loads((traced.folder / "metadata.json").read_text())
    assert metadata["pixel_size_um"] == (0.5 if name == "a.ome.zarr" else None)
    assert metadata["counts"] == {"cells": 12, "cells_in_parts": 0}


def test_quantify_takes_the_polygons(tmp_path: Path) -> None:
    pixels, _ = crowded_field((60, 80), n_cells=12, diameter_px=12.0, seed=3)
    tifffile.imwrite(tmp_path / "image.tif", pixels)
    np.save(tmp_path / "a.npy", PLANE)
    folder = trace_mask(tmp_path / "a.npy", tmp_path / "a", plane=None, z_index=None).folder
    quantify_file(
        tmp_path / "image.tif",
        folder / "polygons.parquet",
        folder / "metadata.json",
        cells=folder / "cells.parquet",
        settings=QuantifySettings(),
    )
    assert len(geopandas.pd.read_parquet(folder / "cells.parquet")) == 12


def test_planes_of_a_stack_are_numbered_in_the_order_given_or_by_hand(tmp_path: Path) -> None:
    for name in ("b", "a"):
        tifffile.imwrite(tmp_path / f"{name}.tif", PLANE)
    masks = [tmp_path / "b.tif", tmp_path / "a.tif"]
    configs = tmp_path / "out" / "configs.yml"
    for as_stack, by_hand, expected in ((False, None, None), (True, None, 1), (False, 7, 7)):
        if by_hand is not None:
            configs.write_text(configs.read_text().replace("z_index: 1", f"z_index: {by_hand}"))
        traced = list(polygons_of_masks(masks, tmp_path / "out", plane=None, as_stack=as_stack))
        found = [json.loads((each.folder / "metadata.json").read_text())["z_index"] for each in traced]
        assert found == ([0, 1] if as_stack else [None, None])
        assert [name for name, _ in read_order(configs)] == ["b", "a"]
        assert read_order(configs)[1][1] == expected


def test_what_is_no_label_image_of_one_plane_is_refused(tmp_path: Path) -> None:
    def refused(path: Path, error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match):
            list(polygons_of_masks([path], tmp_path / "out", plane=None, as_stack=False))
        assert not (tmp_path / "out" / "a" / "polygons.parquet").exists()

    path = tmp_path / "a.tif"
    refused(path, MissingFileError, r"a\.tif does not exist")
    tifffile.imwrite(path, PLANE.astype(np.float32))
    refused(path, ImageError, "expected one channel of integers")
    tifffile.imwrite(path, PLANE.astype(np.int32) - 1)
    refused(path, ImageError, "labels from -1")
    tifffile.imwrite(path, np.stack([PLANE, PLANE]).astype(np.uint16), metadata={"axes": "ZYX"})
    refused(path, ImageError, r"has 2 planes.*--plane")
    (traced,) = polygons_of_masks([path], tmp_path / "out", plane=1, as_stack=False)
    assert traced.n_cells == 12
    with pytest.raises(SettingsError, match="several masks are called a"):
        list(polygons_of_masks([path, tmp_path / "a.png"], tmp_path / "out", plane=None, as_stack=False))


def test_real_label_images_come_back_pixel_for_pixel(shared_data: Path, tmp_path: Path) -> None:
    labels = sorted((shared_data / "dsb2018" / "labels").iterdir())
    masks = [*labels[:: max(1, len(labels) // N_REAL)], shared_data / "cardiomyocyte_B03_mip_065um.zarr/labels/nuclei"]
    for i, mask in enumerate(masks):
        folder = trace_mask(mask, tmp_path / str(i), plane=None, z_index=None).folder
        expected = read_label_image(mask)
        drawn = label_reader(folder / "polygons.parquet")(Box(0, 0, *expected.shape))
        np.testing.assert_array_equal(drawn, expected, err_msg=mask.name)
