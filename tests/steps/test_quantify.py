"""Step quantify: polygons and image in, cells.parquet out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import tifffile

from cohortseg.arrays import Box
from cohortseg.errors import ChannelError, ImageError
from cohortseg.networks import Network
from cohortseg.settings import QuantifySettings, Settings
from cohortseg.steps import quantify
from cohortseg.steps.planes import label_reader
from cohortseg.steps.quantify import quantify_file
from cohortseg.steps.segment import segment_file


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
