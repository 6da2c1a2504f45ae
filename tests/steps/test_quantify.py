"""Step quantify: polygons and image in, cells.parquet out."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
from scipy.ndimage import minimum_filter

from cohortseg.arrays import Box
from cohortseg.errors import ChannelError, ImageError, SettingsError
from cohortseg.networks import Network
from cohortseg.settings import QuantifySettings, Settings
from cohortseg.shapes import polygonise
from cohortseg.steps import quantify
from cohortseg.steps.planes import label_reader
from cohortseg.steps.quantify import quantify_file
from cohortseg.steps.segment import segment_file
from cohortseg.stores.polygons import PolygonWriter


def measured(image: Path, sample: Any, folder: Path, settings: QuantifySettings) -> pd.DataFrame:
    cells = folder / "cells.parquet"
    quantify_file(image, sample.polygons, sample.metadata, cells=cells, settings=settings)
    return pd.read_parquet(cells)


def test_each_cell_has_its_mean_of_each_channel(
    sample: Any, job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantify, "_BLOCK_PX", 64)
    snakemake = job(
        "quantify",
        input={"image": sample.image, "polygons": sample.polygons, "metadata": sample.metadata},
        output={"cells": "cells.parquet"},
        settings={"quantify": {"channels": None}},
    )
    quantify.main(snakemake)
    cells = pd.read_parquet(snakemake.output.cells)
    polygons = geopandas.read_parquet(sample.polygons)
    for name in ("cell_id", "area_px", "touches_edge"):
        assert list(cells[name]) == list(polygons[name])
    labels = label_reader(sample.polygons)(Box(0, 0, *sample.pixels.shape))
    image = tifffile.imread(sample.image)
    for channel, name in enumerate(("mean_DAPI", "mean_CD45")):
        expected = [image[channel][labels == number].mean() for number in cells["cell_id"]]
        assert cells[name].to_list() == pytest.approx(expected)
    assert cells["area_um2"].to_list() == pytest.approx((cells["area_px"] * 0.25).to_list())


def test_only_the_channels_asked_for_are_measured(sample: Any, tmp_path: Path) -> None:
    cells = measured(sample.image, sample, tmp_path, QuantifySettings(channels=("CD45",)))
    assert [name for name in cells.columns if name.startswith("mean_")] == ["mean_CD45"]
    with pytest.raises(ChannelError, match=r"channel 'CD8' is not in image\.ome\.tif; it has: DAPI, CD45"):
        measured(sample.image, sample, tmp_path, QuantifySettings(channels=("CD8",)))


def test_an_image_that_changed_since_is_refused(sample: Any, tmp_path: Path) -> None:
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, np.zeros((2, 30, 40), np.uint16))
    with pytest.raises(ImageError, match=r"image.tif is 30 x 40 px now; it was 150 x 190 px when it was segmented"):
        measured(image, sample, tmp_path, QuantifySettings())
    assert not list(tmp_path.glob("cells*"))


@pytest.mark.parametrize("pixels", ["same names", "no values", "rgb"])
def test_unusual_images_are_measured(pixels: str, network: Network, cpu_settings: Settings, tmp_path: Path) -> None:
    """Two channels of one name, which an index tells apart; an image of NaN; a colour picture."""
    rng, image = np.random.default_rng(0), tmp_path / "image.tif"
    settings = cpu_settings.segment_settings().model_copy(update={"channels": None})
    if pixels == "same names":
        names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "DAPI"]}}
        tifffile.imwrite(image, rng.integers(0, 99, (2, 40, 50), np.uint16), ome=True, metadata=names)
        settings = settings.model_copy(update={"channels": (1,)})
    elif pixels == "no values":
        tifffile.imwrite(image, np.full((40, 50), np.nan, np.float32))
    else:
        tifffile.imwrite(image, rng.integers(0, 255, (40, 50, 3), np.uint8), photometric="rgb")
    polygons, metadata = tmp_path / "polygons.parquet", tmp_path / "metadata.json"
    segment_file(
        image,
        polygons,
        metadata,
        lambda _: network,
        settings,
        sample="a",
        z_index=None,
        on_progress=lambda _: None,
    )
    quantify_file(image, polygons, metadata, cells=tmp_path / "cells.parquet", settings=QuantifySettings())
    n_cells = json.loads(metadata.read_text())["counts"]["cells"]
    cells = pd.read_parquet(tmp_path / "cells.parquet")
    assert len(cells) == n_cells
    n_channels = {"same names": 2, "no values": 1, "rgb": 3}[pixels]
    assert sum(name.startswith("mean_") for name in cells.columns) == n_channels


def test_a_table_has_its_neighbours_and_its_text_beside_it(sample: Any, tmp_path: Path) -> None:
    settings = QuantifySettings(statistics=("mean", "std"), neighbours_um=14.0, csv=True)
    cells = measured(sample.image, sample, tmp_path, settings)
    places = cells[["centroid_x", "centroid_y"]].to_numpy()
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert cells["n_neighbours"].tolist() == ((apart <= 28).sum(axis=1) - 1).tolist(), "0.5 µm a pixel"
    pairs = pd.read_parquet(tmp_path / "neighbours.parquet")
    assert list(pairs.columns) == ["cell_id", "neighbour_id", "distance_px"]
    assert len(pairs) == cells["n_neighbours"].sum() / 2 > 0
    text = pd.read_csv(tmp_path / "cells.csv", dtype=cells.dtypes.to_dict(), float_precision="round_trip")
    pd.testing.assert_frame_equal(text, cells, check_exact=True)
    header = (tmp_path / "cells.csv").read_bytes().split(b"\n")[0].decode()
    assert header == ",".join(cells.columns)


def test_nothing_is_there_that_is_not_asked_for(sample: Any, tmp_path: Path) -> None:
    measured(sample.image, sample, tmp_path, QuantifySettings(neighbours_px=3.0, csv=True))
    assert len(list(tmp_path.iterdir())) == 3
    measured(sample.image, sample, tmp_path, QuantifySettings())
    assert {path.name for path in tmp_path.iterdir()} == {"cells.parquet"}


def test_a_distance_in_um_needs_the_size_of_a_pixel(sample: Any, tmp_path: Path) -> None:
    facts = json.loads(sample.metadata.read_text())
    metadata = tmp_path / "metadata.json"
    metadata.write_text(json.dumps({**facts, "pixel_size_um": None}))
    with pytest.raises(SettingsError, match=r"neighbours_um is set, and the size of a pixel of image\.ome\.tif is not"):
        measured(
            sample.image,
            SimpleNamespace(polygons=sample.polygons, metadata=metadata),
            tmp_path,
            QuantifySettings(neighbours_um=5),
        )


def test_cells_are_measured_with_the_nuclei_of_another_sample(
    sample: Any, job: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantify, "_BLOCK_PX", 64)
    labels = label_reader(sample.polygons)(Box(0, 0, *sample.pixels.shape))
    within = (minimum_filter(labels, 7) == labels) & (labels > 0) & (labels < labels.max())
    inner = np.where(within, labels + 1000, 0).astype(np.uint32)
    polygons = tmp_path / "nuclei.parquet"
    made = polygonise(inner).assign(area_px=1, score=0.5, flow_error=0.0, touches_edge=False)
    with PolygonWriter(polygons, shape=(150, 190)) as writer:
        writer.append(made.assign(centroid_x=made.centroid.x, centroid_y=made.centroid.y))
    files = {"image": sample.image, "polygons": sample.polygons, "metadata": sample.metadata}
    snakemake = job(
        "quantify",
        input={**files, "nuclei": polygons, "nuclei_metadata": sample.metadata},
        output={"cells": "cells.parquet"},
        settings={"quantify": {"channels": ["CD45"]}},
    )
    quantify.main(snakemake)
    cells = pd.read_parquet(snakemake.output.cells).set_index("cell_id")
    image = tifffile.imread(sample.image)[1]
    assert cells["n_nuclei"].tolist() == [1] * (len(cells) - 1) + [0]
    for number, cell in cells.iterrows():
        nucleus, cytoplasm = inner == 1000 + number, (labels == number) & (inner == 0)
        if nucleus.any():
            assert cell["nucleus_id"] == 1000 + number
            assert cell["mean_nucleus_CD45"] == pytest.approx(image[nucleus].mean())
        else:
            assert pd.isna(cell["nucleus_id"])
            assert pd.isna(cell["mean_nucleus_CD45"])
        assert cell["nucleus_area_px"] == nucleus.sum()
        assert cell["mean_cytoplasm_CD45"] == pytest.approx(image[cytoplasm].mean())
    assert pq.read_schema(snakemake.output.cells).field("nucleus_id").type == "int64"


def test_nuclei_of_an_image_of_another_size_are_refused(sample: Any, tall: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=r"the image of the nuclei, .*image\.ome\.tif, is 420 x 200 px; that of the cells"
    ):
        quantify_file(
            sample.image,
            sample.polygons,
            sample.metadata,
            cells=tmp_path / "cells.parquet",
            settings=QuantifySettings(),
            nuclei=(tall.polygons, tall.metadata),
        )
    assert not list(tmp_path.iterdir())
