"""Step assess: an image with its cells in, quality.json and two pictures out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.networks import Network
from cohortseg.settings import QuantifySettings, Settings
from cohortseg.steps import assess
from cohortseg.steps.assess import assess_file
from cohortseg.steps.planes import label_reader
from cohortseg.steps.quantify import quantify_file
from cohortseg.steps.segment import segment_file

OUTPUT = {"quality": "quality.json", "preview": "preview.png", "crops": "crops.png"}


@pytest.fixture(scope="session")
def cells(sample: Any) -> Path:
    """Return the measurements of the sample, not to be written to."""
    path: Path = sample.folder / "assessed_cells.parquet"
    quantify_file(sample.image, sample.polygons, sample.metadata, cells=path, settings=QuantifySettings())
    return path


def assessed(
    sample: Any, cells: Path, folder: Path, *, image: Path | None = None, thumbnail_px: int = 96
) -> tuple[dict[str, Any], NDArray[np.uint8], NDArray[np.uint8]]:
    files = {name: folder / file for name, file in OUTPUT.items()}
    assess_file(image or sample.image, sample.polygons, sample.metadata, cells, **files, thumbnail_px=thumbnail_px)
    pictures = [cv2.imread(str(files[name])) for name in ("preview", "crops")]
    assert all(picture is not None for picture in pictures)
    return json.loads(files["quality"].read_text()), *pictures  # type: ignore[return-value]


def test_quality_says_what_numpy_says_of_the_pixels_and_cells(
    sample: Any, cells: Path, job: Callable[..., Any]
) -> None:
    inputs = {"image": sample.image, "polygons": sample.polygons, "metadata": sample.metadata, "cells": cells}
    snakemake = job("assess", input=inputs, output=OUTPUT, settings={"report": {"thumbnail_px": 96}})
    assess.main(snakemake)
    quality = json.loads(Path(snakemake.output.quality).read_text())
    table = pd.read_parquet(cells).merge(pd.read_parquet(sample.polygons)[["cell_id", "flow_error"]], on="cell_id")
    assert quality["n_cells"] == len(table)
    assert quality["touches_edge_share"] == pytest.approx(table["touches_edge"].mean())
    assert quality["area_mpx"] == pytest.approx(150 * 190 / 1e6)
    for name in ("area_px", "area_um2", "score", "flow_error", "solidity", "eccentricity"):
        found = quality["cells"][name]
        assert found["median"] == pytest.approx(table[name].median())
        assert found["p95"] == pytest.approx(np.percentile(table[name], 95))
        assert found["std"] == pytest.approx(table[name].std(ddof=0), rel=1e-5)
    for histogram in quality["histograms"].values():
        assert sum(histogram["counts"]) == len(table)
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    inside = label_reader(sample.polygons)(Box(0, 0, *sample.pixels.shape)) > 0
    for channel, (plane, name) in zip(
        quality["channels"], zip(tifffile.imread(sample.image), ("DAPI", "CD45"), strict=True), strict=True
    ):
        assert (channel["name"], channel["segmented"]) == (name, name == "DAPI")
        assert channel["median_in_cells"] == np.median(plane[inside])
        assert channel["median_outside"] == np.median(plane[~inside])
        assert (channel["saturated_share"], channel["zero_share"]) == (0, 0)
    dapi, cd45 = quality["channels"]
    assert dapi["shift_px"] is None
    assert cd45["shift_px"] == pytest.approx([0, 0], abs=0.05)  # the same structure, a third as bright
    assert cd45["shift_confidence"] > 0.9
    assert cd45["sharpness"] == pytest.approx(dapi["sharpness"], rel=0.02)
    assert quality["tiles"]["suspicious"] == 0


def test_where_blocks_end_changes_nothing_but_the_patches_of_shifts(
    sample: Any, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, preview, crops = assessed(sample, cells, tmp_path)
    monkeypatch.setattr(assess, "_BLOCK_PX", 50)
    blocked, preview_of_blocks, crops_of_blocks = assessed(sample, cells, tmp_path)
    np.testing.assert_array_equal(preview_of_blocks, preview)
    np.testing.assert_array_equal(crops_of_blocks, crops)
    for channel, other in zip(whole["channels"], blocked["channels"], strict=True):
        for name in ("shift_px", "shift_confidence"):
            channel.pop(name), other.pop(name)
        assert other.pop("sharpness") == pytest.approx(channel.pop("sharpness"), rel=1e-9)
    assert blocked == whole


def test_the_preview_shows_the_whole_image_with_outlines(sample: Any, cells: Path, tmp_path: Path) -> None:
    _, preview, _ = assessed(sample, cells, tmp_path)
    assert preview.shape == (76, 96, 3)
    grey = (preview == preview[..., :1]).all(axis=2)
    assert 0.05 < 1 - grey.mean() < 0.9
    _, small, _ = assessed(sample, cells, tmp_path, thumbnail_px=4000)
    assert small.shape == (150, 190, 3)


def test_the_crops_are_those_that_quality_lists(sample: Any, cells: Path, tmp_path: Path) -> None:
    quality, _, crops = assessed(sample, cells, tmp_path)
    listed = quality["crops"]["cells"]
    assert {each["kind"] for each in listed} == {"good", "doubtful"}
    side = quality["crops"]["side_px"]
    assert crops.shape == (side, side * len(listed), 3)
    places = pd.read_parquet(cells).set_index("cell_id")
    for each in listed:
        centre = places.loc[each["cell_id"], ["centroid_x", "centroid_y"]]
        assert (each["x"], each["y"]) == pytest.approx(tuple(centre), abs=0.1)


def test_an_image_that_changed_since_is_refused(sample: Any, cells: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, np.zeros((2, 30, 40), np.uint16))
    with pytest.raises(ImageError, match=r"image.tif is 30 x 40 px now; it was 150 x 190 px when it was segmented"):
        assessed(sample, cells, tmp_path, image=image)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("pixels", ["one pixel", "no values", "rgb", "constant"])
def test_unusual_images_are_assessed(pixels: str, network: Network, cpu_settings: Settings, tmp_path: Path) -> None:
    rng, image = np.random.default_rng(0), tmp_path / "image.tif"
    settings = cpu_settings.segment_settings().model_copy(update={"channels": None})
    made = {
        "one pixel": np.full((1, 1), 7, np.uint16),
        "no values": np.full((40, 50), np.nan, np.float32),
        "rgb": rng.integers(0, 255, (40, 50, 3), np.uint8),
        "constant": np.full((40, 50), 255, np.uint8),
    }[pixels]
    tifffile.imwrite(image, made, photometric="rgb" if pixels == "rgb" else "minisblack")
    files = {name: tmp_path / name for name in ("polygons", "metadata", "cells", *OUTPUT)}
    polygons, metadata = files["polygons"], files["metadata"]
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
    quantify_file(image, polygons, metadata, cells=files["cells"], settings=QuantifySettings())
    assess_file(image, **files, thumbnail_px=64)
    quality = json.loads(files["quality"].read_text())
    assert quality["n_cells"] == json.loads(metadata.read_text())["counts"]["cells"]
    assert len(quality["channels"]) == (3 if pixels == "rgb" else 1)
    first = quality["channels"][0]
    known = {"one pixel": (0, None), "no values": (None, None), "rgb": (0, None), "constant": (1, None)}[pixels]
    assert first["saturated_share"] == known[0]
    if quality["n_cells"] == 0:
        assert (first["sharpness"], quality["cells"]["score"]["median"]) == (None, None)
        assert quality["crops"]["cells"] == []
