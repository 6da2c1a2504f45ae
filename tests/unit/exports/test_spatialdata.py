"""spatialdata.zarr, read by spatialdata."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import MissingExtraError
from cohortseg.exports import CellSource, write_spatialdata
from cohortseg.exports import spatialdata as exports
from cohortseg.exports.spatialdata import Pixels
from cohortseg.shapes import rasterise
from cohortseg.stores.polygons import read_polygons
from cohortseg.stores.source import ArraySource, ImageFacts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the libraries that it imports
    import spatialdata
    from spatialdata.models import TableModel
    from spatialdata.transformations import get_transformation

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:UserWarning:ome_zarr", "ignore::FutureWarning", "ignore::DeprecationWarning"
)

SHAPE = (60, 80)


def image_of(pixels: NDArray[Any], names: tuple[str, ...], *, is_rgb: bool = False) -> ArraySource:
    shape = (pixels.shape[1], pixels.shape[2])
    return ArraySource(pixels, ImageFacts(Path("field.tif"), shape, pixels.dtype, names, is_rgb, 0.5, 1, "array"))


@pytest.fixture
def pixels() -> NDArray[np.uint16]:
    """Return an image of two channels."""
    return np.random.default_rng(1).integers(0, 60_000, (2, *SHAPE), np.uint16)


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that writes a store and reads it again."""

    def write(source: CellSource, image: ArraySource | None) -> Any:
        outlines = read_polygons(source.polygons, columns=["cell_id"], box=None)

        def labels(box: Box) -> Any:
            return rasterise(outlines, SHAPE, box)

        write_spatialdata(tmp_path / "store.zarr", source, Pixels(SHAPE, labels, image), workers=2)
        assert [path.name for path in tmp_path.iterdir() if path.name != "results"] == ["store.zarr"]
        return spatialdata.read_zarr(tmp_path / "store.zarr")

    return write


def test_all_elements_are_there_and_valid(
    source: CellSource, outlines: list[Any], pixels: NDArray[np.uint16], export: Callable[..., Any]
) -> None:
    store = export(source, image_of(pixels, ("DAPI", "CD45")))
    np.testing.assert_array_equal(store["image"].data.compute(), pixels)
    assert store["image"].coords["c"].to_numpy().tolist() == ["DAPI", "CD45"]
    expected = rasterise(read_polygons(source.polygons, columns=["cell_id"], box=None), SHAPE)
    np.testing.assert_array_equal(store["labels"].data.compute(), expected)
    assert store["labels"].dtype == np.uint32
    assert store["cells"].index.tolist() == [1, 2, 3, 4]
    assert all(a.equals(b) for a, b in zip(store["cells"].geometry, outlines, strict=True))
    TableModel().validate(store["table"])
    assert store["table"].uns["spatialdata_attrs"] == {
        "region": "cells", "region_key": "region", "instance_key": "cell_id",
    }  # fmt: skip
    assert store.attrs["cohortseg"]["image"] == "images/field.tif"


def test_ids_mean_one_cell_in_labels_outlines_and_table(source: CellSource, export: Callable[..., Any]) -> None:
    store = export(source, None)
    instances = spatialdata.get_element_instances(store["labels"])
    assert set(instances) - {0} == set(store["cells"].index) == set(store["table"].obs["cell_id"])
    _, matched = spatialdata.join_spatialelement_table(
        sdata=store, spatial_element_names="cells", table_name="table", how="inner"
    )
    assert matched.n_obs == 4
    assert "image" not in store


def test_a_box_is_queried_in_micrometres(
    source: CellSource, pixels: NDArray[np.uint16], export: Callable[..., Any]
) -> None:
    store = export(source, image_of(pixels, ("DAPI", "CD45")))
    for name in ("image", "labels", "cells"):
        assert set(get_transformation(store[name], get_all=True)) == {"global", "um"}
    extent = spatialdata.get_extent(store["image"], coordinate_system="um")
    assert extent == {"x": (0, 40), "y": (0, 30)}
    corner = spatialdata.bounding_box_query(
        store, axes=("x", "y"), min_coordinate=[0, 0], max_coordinate=[16, 16], target_coordinate_system="um"
    )
    # 16 µm are 32 px: the first cell and that with a hole.
    assert corner["cells"].index.tolist() == [1, 2]
    assert corner["table"].obs["cell_id"].tolist() == [1, 2]
    assert corner["image"].shape == (2, 32, 32)


def test_without_a_pixel_size_there_are_pixels_only(
    make: Callable[..., CellSource], outlines: list[Any], export: Callable[..., Any]
) -> None:
    store = export(make("field", outlines, None, pixel_size_um=None), None)
    assert store.coordinate_systems == ["global"]


def test_large_images_have_pyramids_of_chunks(
    source: CellSource, pixels: NDArray[np.uint16], export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_CHUNK_PX", 32)
    monkeypatch.setattr(exports, "_SMALLEST_PX", 20)
    store = export(source, image_of(pixels, ("DAPI", "DAPI")))
    levels = [store["labels"][f"scale{i}"]["image"] for i in range(3)]
    assert [level.shape for level in levels] == [(60, 80), (30, 40), (15, 20)]
    assert levels[0].data.chunksize == (32, 32)
    full = store["image"]["scale0"]["image"]
    np.testing.assert_array_equal(full.data.compute(), pixels)
    assert full.data.chunksize == (1, 32, 32)
    assert full.coords["c"].to_numpy().tolist() == ["DAPI_0", "DAPI_1"]
    # Nearest: no label is made up.
    assert set(np.unique(levels[2])) <= {0, 1, 2, 3, 4}


def test_a_sample_without_cells_is_a_store_without_outlines(
    make: Callable[..., CellSource], pixels: NDArray[np.uint16], export: Callable[..., Any]
) -> None:
    store = export(make("field", [], None), image_of(pixels, ("DAPI", "CD45")))
    assert "cells" not in store
    assert store["table"].n_obs == 0
    assert not store["labels"].data.compute().any()


def test_one_cell_and_rgb(make: Callable[..., CellSource], export: Callable[..., Any]) -> None:
    colours = np.random.default_rng(2).integers(0, 255, (3, *SHAPE), np.uint8)
    store = export(make("field", [shapely.box(1, 1, 5, 5)], None), image_of(colours, ("R", "G", "B"), is_rgb=True))
    np.testing.assert_array_equal(store["image"].data.compute(), colours)
    assert store["table"].n_obs == len(store["cells"]) == 1


def test_a_failure_leaves_nothing(source: CellSource, tmp_path: Path) -> None:
    def labels(box: Box) -> Any:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write_spatialdata(tmp_path / "out" / "store.zarr", source, Pixels(SHAPE, labels, None), workers=1)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_kill_leaves_behind_is_known(
    source: CellSource, tmp_path: Path, export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    batches = CellSource.batches

    def spied(self: CellSource) -> Any:
        seen.extend(path.name for path in tmp_path.iterdir() if path.name != "results")
        return batches(self)

    monkeypatch.setattr(CellSource, "batches", spied)
    export(source, None)
    # What the next job removes: see atomic.remove_leftovers.
    assert seen
    assert all(name.startswith(".store.zarr.tmp-") for name in seen)


def test_a_missing_library_is_named(source: CellSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(
        MissingExtraError, match=r"library spatialdata\. Install it: pip install 'cohortseg\[exports\]'"
    ):
        write_spatialdata(tmp_path / "store.zarr", source, Pixels(SHAPE, lambda box: None, None), workers=1)  # type: ignore[arg-type,return-value]
