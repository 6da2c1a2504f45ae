"""Step stitch: the planes of a stack in, its 3D cells out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import zarr
from ome_zarr_models.v05.image_label import ImageLabel

from cohortseg.arrays import Box, Labels
from cohortseg.errors import CohortsegError, MissingFileError, StackError, TableError
from cohortseg.segment.cells import WindowCells
from cohortseg.segment.table import cell_table
from cohortseg.settings import RasteriseSettings, StitchSettings
from cohortseg.steps import stitch
from cohortseg.steps.assemble import write_configs
from cohortseg.steps.stitch import stitch_folder
from cohortseg.stores.labels import open_labels
from cohortseg.stores.polygons import PolygonWriter

SHAPE = (40, 60)


def plane(*cells: Box, shape: tuple[int, int] = SHAPE) -> Labels:
    labels = np.zeros(shape, np.uint32)
    for number, cell in enumerate(cells, start=1):
        labels[cell.slices] = number
    return labels


PLANES = {
    "low": plane(Box(2, 2, 12, 12), Box(20, 30, 30, 40)),
    "mid": plane(Box(20, 31, 30, 41), Box(3, 2, 13, 12)),
    "top": plane(Box(3, 3, 13, 13), Box(30, 50, 40, 60)),
}
"""The first cell of `low` goes through all planes, its second through two; the last of `top` is new."""


def write_plane(folder: Path, labels: Labels, z_index: int | None) -> None:
    numbers = np.ones(int(labels.max()), np.float32)
    whole = Box(0, 0, *labels.shape)
    with PolygonWriter(folder / "polygons.parquet", shape=labels.shape) as writer:
        writer.append(cell_table(WindowCells(whole, whole, labels, numbers, numbers, 0, grown=False), labels.shape))
    facts = {"mask_shape": list(labels.shape), "pixel_size_um": 0.5, "z_index": z_index}
    (folder / "metadata.json").write_text(json.dumps(facts))


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Return a folder with three segmented planes, as `cohortseg infer --image-dir` makes it."""
    folder = tmp_path / "stack_results"
    for name, labels in PLANES.items():
        (folder / name).mkdir(parents=True)
        write_plane(folder / name, labels, None)
    write_configs(folder / "configs.yml", [("top", 7), ("low", 2), ("mid", 3)])
    return folder


def test_a_stack_becomes_3d_cells(stack: Path) -> None:
    objects, output = stitch_folder(stack, None, {})
    assert output == stack
    pd.testing.assert_frame_equal(pd.read_parquet(stack / "objects.parquet"), objects)
    assert list(objects["cell_id"]) == [1, 2, 3]
    assert list(objects["n_planes"]) == [3, 2, 1]
    assert list(zip(objects["z_min"], objects["z_max"], strict=True)) == [(2, 7), (2, 3), (7, 7)]
    rows = geopandas.read_parquet(stack / "3d_polygons.parquet")
    found = {(row.z_index, row.plane_cell_id): row.cell_id for row in rows.itertuples()}
    assert found == {(2, 1): 1, (3, 2): 1, (7, 1): 1, (2, 2): 2, (3, 1): 2, (7, 2): 3}
    first = rows[(rows["z_index"] == 3) & (rows["cell_id"] == 1)].iloc[0]
    assert first.geometry.bounds == (2, 3, 12, 13)
    assert first["iou"] == pytest.approx(90 / 110)


def test_the_3d_mask_holds_the_ids_of_the_objects(stack: Path) -> None:
    stitch_folder(stack, None, {"num_process": 0})
    ImageLabel.from_zarr(zarr.open_group(stack / "3d_mask.zarr", mode="r"))
    stored = open_labels(stack / "3d_mask.zarr")
    assert stored.shape == (3, *SHAPE)
    ids = {"low": [0, 1, 2], "mid": [0, 2, 1], "top": [0, 1, 3]}
    for z, name in enumerate(("low", "mid", "top")):
        expected = np.array(ids[name], np.uint32)[PLANES[name]]
        np.testing.assert_array_equal(stored.read_plane(z, Box(0, 0, *SHAPE)), expected)


def test_options_change_the_threshold_and_the_place(stack: Path, tmp_path: Path) -> None:
    objects, output = stitch_folder(stack, tmp_path / "other", {"iou_threshold": 0.9})
    assert output == tmp_path / "other"
    assert len(objects) == 6
    assert (tmp_path / "other" / "3d_polygons.parquet").is_file()
    assert not (stack / "objects.parquet").exists()


def test_without_an_order_the_planes_state_it(stack: Path) -> None:
    (stack / "configs.yml").unlink()
    for z_index, name in enumerate(PLANES):
        write_plane(stack / name, PLANES[name], z_index)
    objects, _ = stitch_folder(stack, None, {})
    assert list(objects["n_planes"]) == [3, 2, 1]


def test_a_workflows_stack_finds_its_planes_among_the_samples(stack: Path, job: Callable[..., Any]) -> None:
    write_configs(stack / "stacks" / "s" / "configs.yml", [("low", 2), ("mid", 3), ("top", 7)])
    snakemake = job(
        "stitch",
        input={"configs": stack / "stacks" / "s" / "configs.yml"},
        output={"polygons3d": "3d_polygons.parquet"},
        stack="s",
        settings={"stitch": StitchSettings().model_dump(), "rasterise": RasteriseSettings().model_dump()},
    )
    stitch.main(snakemake)
    for name in ("3d_polygons.parquet", "objects.parquet", "3d_mask.zarr"):
        assert (stack / "stacks" / "s" / name).exists()
    objects, _ = stitch_folder(stack / "stacks" / "s", None, {})
    assert len(objects) == 3


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        (
            [("low", 0), ("mid", None)],
            StackError,
            "plane mid has no z_index, neither in configs.yml nor in its metadata",
        ),
        ([("low", 0), ("lost", 1)], MissingFileError, "plane lost has no polygons.parquet; it was looked for in"),
        ([("low", 0), ("../low", 1)], StackError, "image_name '../low' in configs.yml; the name of a folder"),
        ([("low", 0), ("..", 1)], StackError, "the name of a folder was expected"),
        ([("low", 4), ("mid", 4)], StackError, "4"),
        ([("low", 0), ("wide", 1)], StackError, "shape|40"),
        ([("low", 0), ("foreign", 1)], TableError, "area_px"),
    ],
)
def test_planes_that_do_not_fit_together_are_told(
    order: list[tuple[str, int | None]], error: type[CohortsegError], message: str, stack: Path
) -> None:
    for name in ("wide", "foreign"):
        (stack / name).mkdir()
        write_plane(stack / name, plane(Box(1, 1, 9, 9), shape=(40, 80) if name == "wide" else SHAPE), None)
    table = geopandas.read_parquet(stack / "low" / "polygons.parquet")
    table[["cell_id", "geometry"]].to_parquet(stack / "foreign" / "polygons.parquet")
    write_configs(stack / "configs.yml", order)
    with pytest.raises(error, match=message):
        stitch_folder(stack, None, {})
    assert not list(stack.glob("3d_*"))
    assert not list(stack.glob("objects*"))


def test_a_folder_without_planes_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no planes; a configs"):
        stitch_folder(tmp_path, None, {})


def test_planes_without_cells_are_fine(stack: Path) -> None:
    for name in PLANES:
        write_plane(stack / name, plane(), None)
    objects, _ = stitch_folder(stack, None, {})
    assert len(objects) == 0
    assert len(geopandas.read_parquet(stack / "3d_polygons.parquet")) == 0


def test_planes_of_different_pixel_sizes_are_refused(stack: Path) -> None:
    metadata = stack / "mid" / "metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"pixel_size_um": 0.123}))
    with pytest.raises(StackError, match=r"different pixel sizes: .*0\.123"):
        stitch_folder(stack, None, {})
