import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v04.image_label import ImageLabel as ImageLabelV04
from ome_zarr_models.v05.image_label import ImageLabel

from cohortseg.arrays import Box, Labels
from cohortseg.errors import MissingFileError, TableError
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.labels import LabelLayout, open_labels, write_labels

LAYOUT = LabelLayout(name="cells", chunk_px=16, shard_px=32, pixel_size_um=0.5, z_step_um=None)
V2 = LabelLayout("cells", chunk_px=16, shard_px=32, pixel_size_um=0.5, z_step_um=None, zarr_format=2)
PLANE = np.random.default_rng(0).integers(0, 2**32, (70, 90), dtype=np.uint32)
STACK = np.random.default_rng(1).integers(0, 9, (3, 40, 50), dtype=np.uint32)


def write_plane(path: Path, labels: Labels, layout: LabelLayout = LAYOUT, workers: int = 1) -> Path:
    write_labels(path, labels.shape, lambda box: labels[box.slices], layout=layout, workers=workers)
    return path


def write_stack(path: Path, labels: Any, layout: LabelLayout = LAYOUT) -> Path:
    write_labels(path, labels.shape, lambda z, box: labels[z][box.slices], layout=layout, workers=2)
    return path


def test_every_level_holds_every_second_pixel_of_the_level_above(tmp_path: Path) -> None:
    path = write_plane(tmp_path / "mask.zarr", PLANE)
    for level, step in enumerate((1, 2, 4, 8)):
        source = open_labels(path, level)
        assert source.shape == PLANE[::step, ::step].shape
        np.testing.assert_array_equal(source.read(Box(0, 0, *source.shape)), PLANE[::step, ::step])
    np.testing.assert_array_equal(open_labels(path).read(Box(13, 30, 40, 77)), PLANE[13:40, 30:77])
    with pytest.raises(TableError, match=r"mask\.zarr cannot be read"):
        open_labels(path, 4)


def test_stacks_keep_all_their_planes_in_every_level(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "3d_mask.zarr", STACK)
    for level, step in enumerate((1, 2, 4)):
        source = open_labels(path, level)
        assert source.shape == STACK[:, ::step, ::step].shape
        np.testing.assert_array_equal(source.read_plane(2, Box(1, 2, 9, 10)), STACK[2, ::step, ::step][1:9, 2:10])


@pytest.mark.parametrize("make", [write_plane, write_stack])
def test_ome_zarr_tools_accept_the_file(make: Any, tmp_path: Path) -> None:
    labels = PLANE if make is write_plane else STACK
    path = make(tmp_path / "mask.zarr", labels)
    validated = ImageLabel.from_zarr(zarr.open_group(path, mode="r"))
    assert validated.ome_zarr_version == "0.5"
    node = next(iter(Reader(parse_url(path))()))
    assert node.data[0].shape == labels.shape
    np.testing.assert_array_equal(np.asarray(node.data[0]), labels)
    assert [axis["name"] for axis in node.metadata["axes"]] == (["y", "x"] if labels.ndim == 2 else ["z", "y", "x"])


def test_the_label_image_opens_as_an_image_too(tmp_path: Path) -> None:
    with open_image(write_plane(tmp_path / "mask.zarr", PLANE), FIRST_PAGE) as source:
        assert source.pixel_size_um == pytest.approx(0.5)
        np.testing.assert_array_equal(source.read([0], Box(0, 0, 70, 90))[0], PLANE)


@pytest.mark.parametrize(
    ("pixel_size_um", "z_step_um", "units", "scale"),
    [
        (0.5, 2.0, ["micrometer"] * 3, [2.0, 1.0, 1.0]),
        (0.5, None, [None, "micrometer", "micrometer"], [1.0, 1.0, 1.0]),
        (None, None, [None] * 3, [1.0, 2.0, 2.0]),
    ],
)
def test_units_are_stated_where_sizes_are_known(
    pixel_size_um: float | None, z_step_um: float | None, units: list[Any], scale: list[float], tmp_path: Path
) -> None:
    layout = LabelLayout("cells", 16, 32, pixel_size_um, z_step_um)
    ome: Any = zarr.open_group(write_stack(tmp_path / "mask.zarr", STACK, layout)).attrs["ome"]
    (multiscale,) = ome["multiscales"]
    assert multiscale["name"] == "cells"
    assert [axis.get("unit") for axis in multiscale["axes"]] == units
    assert multiscale["datasets"][1]["coordinateTransformations"] == [{"type": "scale", "scale": scale}]
    assert "image-label" in ome


def test_each_box_is_asked_for_once_and_is_at_most_a_shard(tmp_path: Path) -> None:
    asked: list[Box] = []

    def read(box: Box) -> Labels:
        asked.append(box)
        return PLANE[box.slices]

    write_labels(tmp_path / "mask.zarr", (70, 90), read, layout=LAYOUT, workers=1)
    assert sorted(asked) == [
        Box(y, x, min(y + 32, 70), min(x + 32, 90)) for y, x in itertools.product((0, 32, 64), (0, 32, 64))
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", [LAYOUT, V2])
def test_the_bytes_do_not_depend_on_the_number_of_workers(layout: LabelLayout, tmp_path: Path) -> None:
    one, two, eight = (files(write_plane(tmp_path / str(n), PLANE, layout, workers=n)) for n in (1, 2, 8))
    assert one == two == eight
    chunks = [name for name in one if not name.endswith(".json") and "/." not in name and name[0] != "."]
    assert len(chunks) == (9 + 4 + 1 + 1 if layout is LAYOUT else 5 * 6 + 3 * 3 + 2 * 2 + 1)


def test_older_programs_find_ome_ngff_0_4_in_zarr_v2(tmp_path: Path) -> None:
    for labels, write in ((PLANE, write_plane), (STACK, write_stack)):
        path = write(tmp_path / f"{labels.ndim}.zarr", labels, V2)
        group = zarr.open_group(path, mode="r", zarr_format=2)
        assert ImageLabelV04.from_zarr(group).ome_zarr_version == "0.4"
        assert not list(path.rglob("zarr.json"))
        stored: Any = group["0"]
        assert stored.metadata.dimension_separator == "/"
        np.testing.assert_array_equal(stored[:], labels)
        node = next(iter(Reader(parse_url(path))()))
        np.testing.assert_array_equal(np.asarray(node.data[1]), labels[..., ::2, ::2])
    source = open_labels(tmp_path / "2.zarr", 3)
    np.testing.assert_array_equal(source.read(Box(0, 0, *source.shape)), PLANE[::8, ::8])


def test_notes_are_asked_for_when_all_is_drawn(tmp_path: Path) -> None:
    drawn: list[Box] = []

    def read(box: Box) -> Labels:
        drawn.append(box)
        return PLANE[box.slices]

    write_labels(tmp_path / "a.zarr", (70, 90), read, layout=LAYOUT, workers=3, notes=lambda: {"n": len(drawn)})
    assert zarr.open_group(tmp_path / "a.zarr").attrs["cohortseg"] == {"n": 9}


def test_an_image_without_cells_stores_no_shards_and_reads_as_background(tmp_path: Path) -> None:
    path = write_plane(tmp_path / "mask.zarr", np.zeros((70, 90), np.uint32))
    assert {name.rsplit("/", 1)[-1] for name in files(path)} == {"zarr.json"}
    assert not open_labels(path).read(Box(0, 0, 70, 90)).any()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    chunk=st.sampled_from([5, 8, 16]),
    shards=st.integers(1, 3),
    zarr_format=st.sampled_from([2, 3]),
)
def test_any_shape_comes_back_at_every_level(
    height: int, width: int, chunk: int, shards: int, zarr_format: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels = np.arange(height * width, dtype=np.uint32).reshape(height, width)
    layout = LabelLayout("cells", chunk, chunk * shards, None, None, zarr_format)
    path = write_plane(tmp_path_factory.mktemp("any") / "mask.zarr", labels, layout, workers=3)
    n_levels = len([each for each in path.iterdir() if each.is_dir()])
    assert max(height, width) / 2 ** (n_levels - 1) <= chunk
    for level in range(n_levels):
        expected = labels[:: 2**level, :: 2**level]
        np.testing.assert_array_equal(open_labels(path, level).read(Box(0, 0, *expected.shape)), expected)


def test_an_error_while_writing_leaves_the_old_image(tmp_path: Path) -> None:
    path = write_plane(tmp_path / "mask.zarr", PLANE)

    def fail(box: Box) -> Labels:
        if box.y0:
            raise ValueError("no polygons")
        return PLANE[box.slices]

    with pytest.raises(ValueError, match="no polygons"):
        write_labels(path, (70, 90), fail, layout=LAYOUT, workers=2)
    assert [each.name for each in tmp_path.iterdir()] == ["mask.zarr"]
    np.testing.assert_array_equal(open_labels(path).read(Box(0, 0, 70, 90)), PLANE)


@pytest.mark.parametrize("kept", [0, 0.5, 0.9])
def test_a_damaged_shard_is_an_error_and_never_background(kept: float, tmp_path: Path) -> None:
    path = write_plane(tmp_path / "mask.zarr", PLANE)
    shard = path / "0" / "c" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[: int(shard.stat().st_size * kept)])
    with pytest.raises(TableError, match=r"mask\.zarr cannot be read"):
        open_labels(path).read(Box(0, 0, 8, 8))
    with pytest.raises(TableError, match=r"mask\.zarr cannot be read"):
        open_labels(path).read(Box(0, 0, 70, 90))


def test_what_is_no_label_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"mask\.zarr does not exist"):
        open_labels(tmp_path / "mask.zarr")
    group = zarr.create_group(tmp_path / "float.zarr")
    group.create_array("0", data=np.zeros((4, 4)))
    with pytest.raises(TableError, match=r"float\.zarr holds float64"):
        open_labels(tmp_path / "float.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(TableError, match=r"empty\.zarr cannot be read"):
        open_labels(tmp_path / "empty.zarr")
