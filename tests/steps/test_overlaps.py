"""Step overlaps: two planes' polygons in, the cells that share pixels out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from cohortseg.steps import overlaps


def write_plane(folder: Path, *boxes: shapely.Geometry, shape: tuple[int, int] = (40, 60)) -> None:
    table = gpd.GeoDataFrame({"cell_id": range(1, len(boxes) + 1)}, geometry=list(boxes))
    folder.mkdir(exist_ok=True)
    table.to_parquet(folder / "polygons.parquet", write_covering_bbox=True)
    (folder / "metadata.json").write_text(json.dumps({"mask_shape": list(shape)}))


@pytest.fixture
def pair(tmp_path: Path, job: Callable[..., Any]) -> Any:
    """Return the job of two planes: the first cell is in both, the second only meets a corner of its own."""
    write_plane(tmp_path / "low", shapely.box(0, 0, 10, 10), shapely.box(20, 20, 30, 30))
    write_plane(tmp_path / "top", shapely.box(0, 5, 10, 15), shapely.box(30, 30, 40, 40))
    snakemake = job("overlaps", input={}, output={"overlaps": "overlaps/3_5.parquet"}, pair="3_5")
    for name in ("polygons.parquet", "metadata.json"):
        key = name.split(".")[0]
        setattr(snakemake.input, key, [str(tmp_path / plane / name) for plane in ("low", "top")])
    return snakemake


def test_the_overlaps_of_two_planes_are_written(pair: Any) -> None:
    overlaps.main(pair)
    table = pd.read_parquet(pair.output.overlaps)
    assert table.to_dict("records") == [{"lower_id": 1, "upper_id": 1, "overlap_px": 50, "iou": 50 / 150}]


def test_planes_of_different_shapes_are_one_clear_error(pair: Any, tmp_path: Path) -> None:
    write_plane(tmp_path / "top", shapely.box(0, 5, 10, 15), shape=(40, 61))
    with pytest.raises(SystemExit) as failed:
        overlaps.main(pair)
    assert failed.value.code == 2
    (failure,) = Path(pair.output.overlaps).parent.glob("failure.overlaps.3_5.json")
    assert json.loads(failure.read_text())["found"] == "low is 40 × 60 px and top is 40 × 61 px"


def test_a_damaged_file_is_one_clear_error(pair: Any, tmp_path: Path) -> None:
    polygons = tmp_path / "top" / "polygons.parquet"
    polygons.write_bytes(polygons.read_bytes()[:-20])
    with pytest.raises(SystemExit) as failed:
        overlaps.main(pair)
    assert failed.value.code == 2
    assert not Path(pair.output.overlaps).exists()
