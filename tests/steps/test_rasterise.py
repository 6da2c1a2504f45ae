"""Step rasterise: polygons.parquet in, mask.zarr out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05.image_label import ImageLabel
from shapely.geometry import box as rectangle

import cohortseg
from cohortseg.arrays import Box
from cohortseg.networks import Network
from cohortseg.segment import stream
from cohortseg.segment.prepare import make_task, prepare
from cohortseg.segment.stream import stream_cells
from cohortseg.segment.tally import Tally
from cohortseg.settings import Settings
from cohortseg.steps import rasterise
from cohortseg.steps.rasterise import shape_of_polygons
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
