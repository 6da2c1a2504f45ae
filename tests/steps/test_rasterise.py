"""Step rasterise: polygons.parquet in, mask.zarr out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import geopandas
import numpy as np
import pytest
import shapely
import tifffile
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05.image_label import ImageLabel
from shapely.geometry import box as rectangle
from skimage.segmentation import find_boundaries

import cohortseg
from cohortseg.arrays import Box
from cohortseg.errors import TableError
from cohortseg.networks import Network
from cohortseg.segment import stream
from cohortseg.segment.prepare import make_task, prepare
from cohortseg.segment.stream import stream_cells
from cohortseg.segment.tally import Tally
from cohortseg.settings import RasteriseSettings, Settings
from cohortseg.shapes import rasterise_into
from cohortseg.steps import rasterise
from cohortseg.steps.rasterise import rasterise_file, shape_of_polygons
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.labels import open_labels


@pytest.fixture
def mask(sample: Any, job: Callable[..., Any], cpu_settings: Settings) -> Path:
    snakemake = job(
        "rasterise",
        input={"polygons": sample.polygons, "metadata": sample.metadata},
        output={"mask": "mask.zarr"},
        sample="field",
        settings={"rasterise": cpu_settings.rasterise.model_dump()},
    )
    rasterise.main(snakemake)
    return Path(snakemake.output.mask)


def test_the_mask_is_the_segmented_labels_pixel_for_pixel(
    sample: Any, mask: Path, network: Network, cpu_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmented = np.zeros(sample.pixels.shape, np.uint32)
    trace, n_before = stream.cell_table, [0]

    def kept(cells: Any, shape: tuple[int, int]) -> Any:
        labels = cells.labels.copy()
        labels[labels > 0] += n_before[0]
        segmented[cells.outer.slices] += labels
        n_before[0] += int(cells.labels.max())
        return trace(cells, shape)

    monkeypatch.setattr(stream, "cell_table", kept)
    with open_image(sample.image, FIRST_PAGE) as source:
        settings = cpu_settings.segment_settings()
        task = make_task(source, network, settings, prepare(source, network, settings, Tally()))
        n_cells = sum(len(table) for table in stream_cells(task, Tally(), lambda _: None))
    stored = open_labels(mask)
    np.testing.assert_array_equal(stored.read(Box(0, 0, *stored.shape)), segmented)
    np.testing.assert_array_equal(
        cohortseg.rasterise(geopandas.read_parquet(sample.polygons), sample.pixels.shape), segmented
    )
    assert segmented.max() == n_cells


def test_ome_zarr_tools_accept_the_mask(mask: Path, sample: Any) -> None:
    validated = ImageLabel.from_zarr(zarr.open_group(mask, mode="r"))
    assert validated.ome_zarr_version == "0.5"
    node = next(iter(Reader(parse_url(mask))()))
    assert node.data[0].shape == sample.pixels.shape
    assert node.data[0].dtype == np.uint32
    assert len(node.data) > 1
    assert node.metadata["axes"][0]["unit"] == "micrometer"


def test_without_metadata_the_shape_is_that_of_the_largest_coordinates(tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame(geometry=[rectangle(2, 3, 40.2, 17)])
    table.to_parquet(tmp_path / "polygons.parquet")
    assert shape_of_polygons(tmp_path / "polygons.parquet") == (17, 41)
    table[:0].to_parquet(tmp_path / "polygons.parquet")
    assert shape_of_polygons(tmp_path / "polygons.parquet") == (1, 1)


def by_others(folder: Path) -> Path:
    """Write polygons as other programs do: vertices between pixels, several parts, overlaps, one row group, no ids."""
    shapes = [
        shapely.Point(20.3, 21.7).buffer(9.4),
        shapely.MultiPolygon([rectangle(40.2, 3.1, 50.8, 9.9), rectangle(41, 30, 44.5, 52.5)]),
        None,
        shapely.Point(27.1, 20.2).buffer(8.2).difference(shapely.Point(27.1, 20.2).buffer(3)),
        rectangle(-8, 55, 30.4, 90),
    ]
    geopandas.GeoDataFrame(geometry=shapes).to_parquet(folder / "polygons.parquet")
    return folder / "polygons.parquet"


SMALL = RasteriseSettings(chunk_px=64, shard_px=64, tiff=True, boundaries=True)


def draw(polygons: Path, folder: Path, settings: RasteriseSettings = SMALL, workers: int = 2) -> int:
    return rasterise_file(
        polygons, folder / "mask.zarr", settings,
        shape=(80, 130), name="others", pixel_size_um=0.5, workers=workers,
    )  # fmt: skip


def test_polygons_of_others_are_drawn_and_overlaps_are_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = by_others(tmp_path)
    overlapped_px = draw(path, tmp_path)
    shapes = np.asarray(geopandas.read_parquet(path).geometry)
    expected, expected_px = rasterise_into(shapes, np.arange(1, 6), Box(0, 0, 80, 130))
    stored = open_labels(tmp_path / "mask.zarr")
    np.testing.assert_array_equal(stored.read(Box(0, 0, 80, 130)), expected)
    assert overlapped_px == expected_px > 0
    # the later cell keeps all its pixels
    assert np.count_nonzero(expected == 4) == np.count_nonzero(
        rasterise_into(shapes[3:4], np.ones(1, int), Box(0, 0, 80, 130))[0]
    )
    assert f"others: polygons overlap; later rows took {overlapped_px} px" in caplog.text
    assert zarr.open_group(tmp_path / "mask.zarr").attrs["cohortseg"] == {"overlapped_px": overlapped_px}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_labels_are_drawn_in_other_forms_too(zarr_format: Literal[2, 3], tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"zarr_format": zarr_format})
    draw(by_others(tmp_path), tmp_path, settings)
    whole = Box(0, 0, 80, 130)
    labels = open_labels(tmp_path / "mask.zarr").read(whole)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif"), labels)
    borders = find_boundaries(labels, connectivity=1, mode="inner")
    drawn = open_labels(tmp_path / "boundaries.zarr").read(whole)
    np.testing.assert_array_equal(drawn, np.where(borders, labels, 0))
    assert zarr.open_group(tmp_path / "boundaries.zarr").metadata.zarr_format == zarr_format


def test_nothing_else_is_written_unless_asked_for(tmp_path: Path) -> None:
    draw(by_others(tmp_path), tmp_path, RasteriseSettings())
    assert {path.name for path in tmp_path.iterdir()} == {"polygons.parquet", "mask.zarr"}


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    path, found = by_others(tmp_path), []
    for workers in (1, 2, 8):
        folder = tmp_path / str(workers)
        draw(path, folder, workers=workers)
        found.append({str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()})
    assert found[0] == found[1] == found[2]


def test_ids_that_a_mask_cannot_hold_are_refused_and_no_mask_is_left(tmp_path: Path) -> None:
    path = by_others(tmp_path)
    table = geopandas.read_parquet(path)
    table["cell_id"] = [1, 2, 3, 4, 2**32]
    table.to_parquet(path)
    with pytest.raises(TableError, match="whole numbers from 1 to 4294967295"):
        draw(path, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["polygons.parquet"]
