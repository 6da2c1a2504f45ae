"""Step stitch: the planes of a stack in, its 3D cells out."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import zarr
from ome_zarr_models.v05.image_label import ImageLabel

from cohortseg.arrays import Box, Labels
from cohortseg.errors import CohortsegError, MissingFileError, StackError, TableError
from cohortseg.segment.cells import WindowCells
from cohortseg.segment.table import cell_table
from cohortseg.settings import RasteriseSettings, StitchSettings
from cohortseg.steps import stitch
from cohortseg.steps.assemble import write_configs
from cohortseg.steps.overlaps import overlap_files
from cohortseg.steps.provenance import code_facts
from cohortseg.steps.stitch import stitch_folder
from cohortseg.stores.labels import open_labels
from cohortseg.stores.polygons import PolygonWriter
from cohortseg.stores.tables import write_parquet

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
    assert stored.shape == (6, *SHAPE), "z_index 2 to 7, those without a plane as empty slices"
    ids = {0: ("low", [0, 1, 2]), 1: ("mid", [0, 2, 1]), 5: ("top", [0, 1, 3])}
    for z in range(6):
        name, of_plane = ids.get(z, ("low", [0, 0, 0]))
        expected = np.array(of_plane, np.uint32)[PLANES[name]]
        np.testing.assert_array_equal(stored.read_plane(z, Box(0, 0, *SHAPE)), expected)


def test_planes_at_an_even_spacing_are_slices_without_gaps_at_their_real_distance(stack: Path) -> None:
    write_configs(stack / "configs.yml", [("low", 10), ("mid", 13), ("top", 16)])
    stitch_folder(stack, None, {"z_step_um": 0.5})
    group = zarr.open_group(stack / "3d_mask.zarr", mode="r")
    assert open_labels(stack / "3d_mask.zarr").shape == (3, *SHAPE)
    scale = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == [1.5, 0.5, 0.5]
    report = json.loads((stack / "link_report.json").read_text())
    assert report["mask"] == {"first_z_index": 10, "z_index_step": 3, "slices": 3}


def test_the_link_report_tells_what_made_it_and_from_what(stack: Path) -> None:
    metadata = stack / "low" / "metadata.json"
    code, checksum = {"version": "0.1.0", "commit": "abc", "modified": False}, {"size_bytes": 7, "sha256": "def"}
    told = {"sample": "low", "code": code, "image_checksum": checksum, "model": {"sha256": "123"}}
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | told))
    stitch_folder(stack, None, {})
    report = json.loads((stack / "link_report.json").read_text())
    assert report["code"] == code_facts()
    assert report["settings"]["iou_threshold"] == 0.5
    low = {"sample": "low", "image_checksum": checksum, "model_sha256": "123", "code": code}
    assert report["made_from"][0] == low
    assert [plane["code"] for plane in report["made_from"][1:]] == [None, None]


def say(stack: Path, **facts: tuple[Any, Any, Any]) -> None:
    """Add what metadata.json says of low, mid and top, whose z_index are 0, 1 and 2."""
    write_configs(stack / "configs.yml", [("low", 0), ("mid", 1), ("top", 2)])
    for i, name in enumerate(("low", "mid", "top")):
        path = stack / name / "metadata.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: each[i] for key, each in facts.items()}))


ONE_FILE, FILES = ("a.nd2",) * 3, ("a.tif", "b.tif", "c.tif")
SEVERAL, SINGLE = (9,) * 3, (1,) * 3
"""How many planes a file has."""


@pytest.mark.parametrize(
    ("image", "n_planes", "z_place", "steps", "expected"),
    [
        (ONE_FILE, SEVERAL, (0, 1, 2), (1.5,) * 3, 1.5),
        (ONE_FILE, SEVERAL, (4, 2, 0), (1.5,) * 3, 3.0),
        (ONE_FILE, SEVERAL, (0, 1, 5), (1.5,) * 3, None),
        (ONE_FILE, SEVERAL, (0, 0, 0), (1.5,) * 3, None),
        (FILES, SEVERAL, (0, 1, 2), (1.5,) * 3, 1.5),  # an OME-TIFF over several files
        (FILES, SEVERAL, (0, 0, 0), (1.5,) * 3, None),  # three stacks
        (FILES, SINGLE, (0, 0, 0), (1.5, 1.51, 1.5), 1.5),
        (FILES, SINGLE, (0, 0, 0), (None,) * 3, None),
    ],
)
def test_the_z_step_is_that_of_the_images(
    image: Any, n_planes: Any, z_place: Any, steps: Any, expected: float | None, stack: Path, caplog: Any
) -> None:
    say(stack, image=image, n_planes=n_planes, z_place=z_place, z_step_um=steps)
    objects, _ = stitch_folder(stack, None, {})
    report = json.loads((stack / "link_report.json").read_text())
    assert report["z_step_um"] == expected
    volumes = objects["volume_px"] * 0.25 * (np.nan if expected is None else expected)
    np.testing.assert_allclose(objects["volume_um3"], volumes)
    axes = zarr.open_group(stack / "3d_mask.zarr", mode="r").attrs["ome"]["multiscales"][0]["axes"]
    assert axes[0].get("unit") == (None if expected is None else "micrometer")
    assert ("the z step of a." in caplog.text) == (expected is None and n_planes is SEVERAL)


def test_a_z_step_that_contradicts_the_images_is_refused_unless_the_settings_insist(stack: Path) -> None:
    say(stack, image=ONE_FILE, n_planes=SEVERAL, z_place=(0, 1, 2), z_step_um=(1.5,) * 3)
    with pytest.raises(StackError, match=r"z_step_um is 2, and the metadata of the images of .* say 1\.5 µm"):
        stitch_folder(stack, None, {"z_step_um": 2.0})
    for given in ({"z_step_um": 1.52}, {"z_step_um": 2.0, "override_z_step": True}):
        stitch_folder(stack, None, given)
        assert json.loads((stack / "link_report.json").read_text())["z_step_um"] == given["z_step_um"]


def test_what_single_planes_say_of_a_z_step_is_a_hint(stack: Path, caplog: pytest.LogCaptureFixture) -> None:
    say(stack, image=FILES, n_planes=SINGLE, z_place=(0, 0, 0), z_step_um=(1.0, 1.0, 1.0))
    stitch_folder(stack, None, {"z_step_um": 5.0})
    assert json.loads((stack / "link_report.json").read_text())["z_step_um"] == 5.0
    assert "z step 5 µm, though its images' metadata say 1" in caplog.text
    stitch_folder(stack, None, {})
    assert "set stitch.z_step_um to be sure" in caplog.text


def test_images_of_different_z_steps_are_no_stack(stack: Path) -> None:
    say(stack, image=FILES, n_planes=SINGLE, z_place=(0, 0, 0), z_step_um=(1.5, 1.5, 3.0))
    with pytest.raises(StackError, match=r"different z steps: 1\.5, 3 µm"):
        stitch_folder(stack, None, {})


def test_a_cell_missing_from_a_plane_goes_on_across_the_gap(stack: Path) -> None:
    write_plane(stack / "mid", plane(Box(30, 50, 40, 60)), None)
    write_configs(stack / "configs.yml", [("low", 0), ("mid", 1), ("top", 2)])
    objects, _ = stitch_folder(stack, None, {"max_gap": 1})
    assert objects[["n_planes", "z_min", "z_max", "n_gaps"]].to_numpy().tolist() == [
        [2, 0, 2, 1],
        [1, 0, 0, 0],
        [2, 1, 2, 0],
    ]


def test_objects_in_too_few_planes_are_in_no_output_and_counted(stack: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    objects, _ = stitch_folder(stack, None, {"min_planes": 2})
    assert objects[["cell_id", "n_planes"]].to_numpy().tolist() == [[1, 3], [2, 2]]
    assert set(geopandas.read_parquet(stack / "3d_polygons.parquet")["cell_id"]) == {1, 2}
    top = open_labels(stack / "3d_mask.zarr").read_plane(5, Box(0, 0, *SHAPE))
    np.testing.assert_array_equal(top, np.array([0, 1, 0], np.uint32)[PLANES["top"]])
    report = json.loads((stack / "link_report.json").read_text())
    assert report["dropped"] == {"objects": 1, "cells": 1, "min_planes": 2}
    assert "objects in fewer than 2 planes, dropped: 1" in caplog.text


def test_the_link_report_tells_links_and_starts_and_ends(stack: Path) -> None:
    stitch_folder(stack, None, {"rule": "optimal"})
    report = json.loads((stack / "link_report.json").read_text())
    assert (report["n_cells"], report["n_objects"], report["n_links"]) == (6, 3, 3)
    assert [plane["starts"] for plane in report["planes"]] == [2, 0, 1]
    assert [plane["ends"] for plane in report["planes"]] == [0, 1, 2]
    assert sum(report["iou_histogram"]["counts"]) == 3
    assert report["settings"]["rule"] == "optimal"
    assert report["through_z"] == {"cells": [1], "z_index": [2, 3, 7], "images": 0}
    assert (stack / "through_z.png").is_file()
    assert (stack / "projection.png").is_file()


def test_the_projection_shows_each_object_where_it_is(stack: Path) -> None:
    stitch_folder(stack, None, {})
    mask = open_labels(stack / "3d_mask.zarr")
    seen = np.max([mask.read_plane(z, Box(0, 0, *SHAPE)) for z in range(mask.shape[0])], axis=0) > 0
    picture = cv2.imread(str(stack / "projection.png"))
    assert picture is not None
    zoom = picture.shape[1] // SHAPE[1]
    middles = picture[zoom // 2 : zoom * SHAPE[0] : zoom, zoom // 2 :: zoom]
    assert seen.any()
    np.testing.assert_array_equal((middles != 20).any(axis=2), seen)


def test_planes_too_far_apart_are_told_and_not_linked(stack: Path, caplog: Any) -> None:
    objects, _ = stitch_folder(stack, None, {"z_step_um": 1.0, "max_distance_um": 2.0})
    assert "planes 3 and 7 are not linked: farther apart than max_distance_um" in caplog.text
    assert objects["n_planes"].tolist() == [2, 2, 1, 1]


def files_of(folder: Path) -> dict[str, bytes]:
    paths = [
        folder / name
        for name in ("3d_polygons.parquet", "objects.parquet", "link_report.json", "through_z.png", "projection.png")
    ]
    paths += sorted(path for path in (folder / "3d_mask.zarr").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_workers_and_reruns_give_the_same_bytes(stack: Path, tmp_path: Path) -> None:
    given = {"rule": "optimal", "max_gap": 2, "splits": "join"}
    made = []
    for number in (1, 2, 8, 8):
        stitch_folder(stack, tmp_path / "out", given | {"num_process": number})
        made.append(files_of(tmp_path / "out"))
    assert made[0] == made[1] == made[2] == made[3]
    assert len(made[0]) > 5


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
    for pair in ((2, 3), (3, 7)):
        folders = [stack / {2: "low", 3: "mid", 7: "top"}[z] / "polygons.parquet" for z in pair]
        table = overlap_files(*folders, SHAPE, workers=1)
        write_parquet(stack / "stacks" / "s" / "overlaps" / f"{pair[0]}_{pair[1]}.parquet", table)
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
    stored = files_of(stack / "stacks" / "s")
    objects, _ = stitch_folder(stack / "stacks" / "s", None, {})
    assert len(objects) == 3
    assert files_of(stack / "stacks" / "s") == stored, "with the overlaps of the workflow or its own"


def test_a_killed_job_leaves_nothing_half_made_and_its_rerun_the_same_bytes(stack: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    stitch_folder(stack, whole, {})
    script = f"""
import os, signal
from pathlib import Path
from cohortseg.steps import stitch
stitch._object_reader = lambda *_: lambda box: os.kill(os.getpid(), signal.SIGKILL)
stitch.stitch_folder(Path({str(stack)!r}), Path({str(killed)!r}), {{}})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (killed / "3d_mask.zarr").exists()
    stitch_folder(stack, killed, {})
    assert files_of(killed) == files_of(whole)


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
        ([("low", 4), ("mid", 4)], StackError, "two planes have z_index 4"),
        ([("low", 0), ("mid", 1), ("top", 1_000_000)], StackError, "z_index from 0 to 1000000 without an even step"),
        ([("low", 0), ("twice", 1)], TableError, "twice/polygons.parquet are not a numbering"),
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
    (stack / "twice").mkdir()
    write_plane(stack / "twice", PLANES["low"], None)
    table.assign(cell_id=1).to_parquet(stack / "twice" / "polygons.parquet")
    write_configs(stack / "configs.yml", order)
    with pytest.raises(error, match=message):
        stitch_folder(stack, None, {})
    assert not list(stack.glob("3d_*"))
    assert not list(stack.glob("objects*"))


def replace_first_shape(polygons: Path, shape: shapely.Geometry) -> None:
    table = geopandas.read_parquet(polygons)
    table.loc[0, "geometry"] = shape
    table.to_parquet(polygons)


def test_a_polygon_that_crosses_itself_is_drawn_and_linked_by_its_pixels(stack: Path) -> None:
    crossed = shapely.Polygon([(30, 20), (40, 20), (30, 30), (40, 30)])
    for name, row in (("low", 1), ("mid", 0)):
        table = geopandas.read_parquet(stack / name / "polygons.parquet")
        table.loc[row, "geometry"] = crossed
        table.to_parquet(stack / name / "polygons.parquet")
    stitch_folder(stack, None, {})
    rows = geopandas.read_parquet(stack / "3d_polygons.parquet")
    linked = rows[(rows["z_index"] == 3) & (rows["plane_cell_id"] == 1)].iloc[0]
    assert (linked["cell_id"], linked["iou"]) == (2, 1.0)
    assert linked.geometry.equals_exact(crossed, 0), "as it was given"
    drawn = open_labels(stack / "3d_mask.zarr").read_plane(0, Box(20, 30, 30, 40))
    expected = np.zeros((10, 10), np.uint32)
    for y in range(10):
        inside = min(y, 9 - y)
        expected[y, inside : 9 - inside] = 2
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (shapely.LineString([(0, 0), (4, 4)]), "low/polygons.parquet: row 0 holds another kind of geometry"),
        (shapely.Polygon([(0, 0), (np.inf, 0), (1, 1)]), "low/polygons.parquet: row 0 has a vertex that is missing"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_error(shape: shapely.Geometry, message: str, stack: Path) -> None:
    replace_first_shape(stack / "low" / "polygons.parquet", shape)
    with pytest.raises(TableError, match=message):
        stitch_folder(stack, None, {})
    assert not list(stack.glob("3d_*"))


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
