"""`cohortseg poly2mask`: polygons of any origin to label pyramids."""

import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from shapely.geometry import box as rectangle

from cohortseg.arrays import Box
from cohortseg.errors import MissingFileError, TableError
from cohortseg.steps.planes import label_reader
from cohortseg.steps.poly2mask import masks_of_folder
from cohortseg.stores.labels import open_labels


def test_the_shape_comes_from_metadata(sample: Any, tmp_path: Path) -> None:
    for path in (sample.polygons, sample.metadata):
        shutil.copy(path, tmp_path)
    (mask,) = masks_of_folder(tmp_path, None, {})
    assert mask == tmp_path / "mask.zarr"
    stored, whole = open_labels(mask), Box(0, 0, *sample.pixels.shape)
    np.testing.assert_array_equal(stored.read(whole), label_reader(sample.polygons)(whole))


def test_other_peoples_polygons_are_drawn_up_to_their_largest_coordinates(tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame(geometry=[rectangle(0.2, 0, 5, 4), rectangle(8, 3, 11.5, 9)])
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        table.to_parquet(tmp_path / name / "polygons.parquet")
    masks = list(masks_of_folder(tmp_path, tmp_path / "out", {}))
    assert masks == [tmp_path / "out" / name / "mask.zarr" for name in ("a", "b")]
    stored = open_labels(masks[0])
    assert stored.shape == (9, 12)
    labels = stored.read(Box(0, 0, 9, 12))
    expected = np.zeros((9, 12), np.uint32)
    expected[0:4, 0:5] = 1
    expected[3:9, 8:11] = 2
    np.testing.assert_array_equal(labels, expected)


def test_a_folder_without_polygons_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        MissingFileError, match=r"holds no polygons\.parquet; a folder of results, as of `cohortseg infer`"
    ):
        list(masks_of_folder(tmp_path, None, {}))


@pytest.mark.parametrize("metadata", ["{", '{"mask_shape": [3]}', '{"mask_shape": [0, 4]}', "[]"])
def test_damaged_metadata_is_told_and_no_mask_is_left(metadata: str, sample: Any, tmp_path: Path) -> None:
    shutil.copy(sample.polygons, tmp_path)
    (tmp_path / "metadata.json").write_text(metadata)
    with pytest.raises(TableError, match=r"metadata\.json"):
        list(masks_of_folder(tmp_path, None, {}))
    assert not (tmp_path / "mask.zarr").exists()
