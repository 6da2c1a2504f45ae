from pathlib import Path

import numpy as np
import pytest
import tifffile

from cohortseg.stores import label_tiff
from cohortseg.stores.label_tiff import write_label_tiff
from cohortseg.stores.labels import LabelLayout, LabelSource, open_labels, write_labels

PLANE = np.random.default_rng(0).integers(0, 9, (1100, 600), dtype=np.uint32) * 477_000_000


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> LabelSource:
    path = tmp_path_factory.mktemp("labels") / "mask.zarr"
    layout = LabelLayout("cells", 256, 512, None, None)
    write_labels(path, PLANE.shape, lambda box: PLANE[box.slices], layout=layout, workers=2)
    return open_labels(path)


def test_the_tiff_is_tiled_compressed_and_has_the_labels(labels: LabelSource, tmp_path: Path) -> None:
    write_label_tiff(tmp_path / "mask.tif", labels, pixel_size_um=0.5, workers=2)
    with tifffile.TiffFile(tmp_path / "mask.tif") as file:
        page = file.pages[0]
        assert (page.is_tiled, page.compression.name, page.dtype) == (True, "ADOBE_DEFLATE", np.uint32)
        assert not file.is_bigtiff
        assert page.get_resolution("MICROMETER") == (2.0, 2.0)
        np.testing.assert_array_equal(page.asarray(), PLANE)


def test_large_images_become_bigtiff(labels: LabelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_tiff, "_CLASSIC_BYTES", PLANE.nbytes)
    write_label_tiff(tmp_path / "mask.tif", labels, pixel_size_um=None, workers=1)
    with tifffile.TiffFile(tmp_path / "mask.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), PLANE)


def test_the_bytes_do_not_depend_on_the_number_of_workers(labels: LabelSource, tmp_path: Path) -> None:
    for workers in (1, 2, 8):
        write_label_tiff(tmp_path / f"{workers}.tif", labels, pixel_size_um=None, workers=workers)
    assert len({(tmp_path / f"{workers}.tif").read_bytes() for workers in (1, 2, 8)}) == 1
