"""Tiled equals whole: with a network that is exact, whatever differs is the engine's fault."""

import itertools
import threading
import time
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from cohortseg.arrays import Box, Labels
from cohortseg.errors import DeviceError, SettingsError
from cohortseg.segment import stream
from cohortseg.segment.maths import FieldMaths
from cohortseg.segment.tally import Tally
from cohortseg.shapes import rasterise, rasterise_into
from cohortseg.tiling import Part

WHOLE = {"infer_size": 2048}
VALUES = ["area_px", "centroid_x", "centroid_y", "score", "flow_error", "touches_edge"]


@pytest.fixture(scope="module")
def crowd(exact: Any) -> Labels:
    labels: Labels = exact.crowd((211, 178), pitch_px=11.0, radius_px=6.2, seed=3)
    return labels


def in_order(table: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    return table.sort_values(["centroid_y", "centroid_x"], ignore_index=True)


def assert_same_cells(found: geopandas.GeoDataFrame, expected: geopandas.GeoDataFrame) -> None:
    """Assert that two tables hold the same cells bit for bit, in whatever order."""
    found, expected = in_order(found), in_order(expected)
    assert len(found) == len(expected)
    assert list(shapely.to_wkb(found.geometry)) == list(shapely.to_wkb(expected.geometry))
    for name in VALUES:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def assert_sound(table: geopandas.GeoDataFrame, shape: tuple[int, int]) -> None:
    """Assert that ids run from 1 without gaps and that no two polygons overlap."""
    assert list(table["cell_id"]) == list(range(1, len(table) + 1))
    assert shapely.is_valid(np.asarray(table.geometry)).all()
    labels, overlapped_px = rasterise_into(np.asarray(table.geometry), table["cell_id"].to_numpy(), Box(0, 0, *shape))
    assert overlapped_px == 0
    np.testing.assert_array_equal(np.bincount(labels.ravel(), minlength=len(table) + 1)[1:], table["area_px"])


@pytest.mark.parametrize("resample", [False, True], ids=["network-grid", "image-grid"])
@pytest.mark.parametrize(("infer_size", "scale"), [(64, 0.5), (64, 1.0), (96, 1.0), (128, 1.0), (64, 1.7), (160, 1.7)])
def test_tiles_give_the_cells_of_the_whole_image(
    exact: Any, crowd: Labels, infer_size: int, scale: float, resample: bool
) -> None:
    # At half the scale a cell has a quarter of the pixels: larger cells keep enough of them.
    labels = np.kron(crowd, np.ones((2, 2), np.uint32)) if scale < 1 else crowd
    postprocess = {"resample": resample}
    whole = exact.segment(labels, scale=scale, postprocess=postprocess, **WHOLE)
    tiled = exact.segment(labels, scale=scale, postprocess=postprocess, infer_size=infer_size)
    assert whole.tally.tiles == whole.tally.windows == 1
    assert tiled.tally.tiles > 1
    assert tiled.tally.windows > 1
    assert len(whole.table) > 0.95 * (np.unique(labels).size - 1)
    assert_same_cells(tiled.table, whole.table)
    assert_sound(tiled.table, labels.shape)
    assert (tiled.tally.cells_cut, tiled.tally.overlap_px, tiled.tally.duplicates) == (0, 0, 0)


@pytest.mark.parametrize(("strip_px", "scale"), [(1, 1.0), (130, 1.0), (130, 1.7)])
def test_strips_give_the_cells_of_the_whole_image(
    exact: Any, crowd: Labels, monkeypatch: pytest.MonkeyPatch, strip_px: int, scale: float
) -> None:
    whole = exact.segment(crowd, scale=scale, **WHOLE)
    monkeypatch.setattr(stream, "_STRIP_PX", strip_px)
    tiled = exact.segment(crowd, scale=scale, infer_size=64)
    assert_same_cells(tiled.table, whole.table)
    assert_sound(tiled.table, crowd.shape)
    assert (tiled.tally.overlap_px, tiled.tally.duplicates) == (0, 0)


def test_strips_bound_the_width_of_the_field_that_is_kept(
    exact: Any, crowd: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    widest = []
    kept = stream.RollingField

    def watched(seen: Box, maths: FieldMaths) -> Any:
        widest.append(seen.width)
        return kept(seen, maths)

    monkeypatch.setattr(stream, "RollingField", watched)
    monkeypatch.setattr(stream, "_STRIP_PX", 64)
    exact.segment(crowd, infer_size=64)
    assert len(widest) > 2
    assert max(widest) <= 64 + 4 * 32


@pytest.mark.parametrize(
    "hands",
    [
        {"n_postprocess_processes": 1, "postprocess_queue_size": 1},
        {"n_postprocess_processes": 4, "n_merge_tile_processes": 3},
        {"batch_size": 3},
        {"n_read_workers": 1, "read_queue_size": 1},
        {"n_read_workers": 5, "read_queue_size": 9},
    ],
    ids=["one", "many", "batches", "one-reader", "many-readers"],
)
def test_the_same_rows_come_in_the_same_order_whatever_the_hands(
    exact: Any, crowd: Labels, hands: dict[str, int]
) -> None:
    usual = exact.segment(crowd, infer_size=64)
    other = exact.segment(crowd, infer_size=64, **hands)
    assert other.table.equals(usual.table)
    assert other.tally.counts() == usual.tally.counts()


def test_cells_are_those_that_the_network_was_shown(exact: Any, crowd: Labels) -> None:
    found = exact.segment(crowd, infer_size=64, postprocess={"flow_threshold": 0.0, "min_size": 0}).table
    labels = rasterise(found, crowd.shape)
    # Slivers of cells at the image's rim have too few pixels for the method; all others are found, each by one cell.
    large = np.flatnonzero(np.bincount(crowd.ravel())[1:] >= 25) + 1
    assert set(large) <= set(crowd[labels > 0])
    assert ((labels == 0) == (crowd == 0)).mean() > 0.97
    shared = np.zeros((int(labels.max()) + 1, int(crowd.max()) + 1), int)
    np.add.at(shared, (labels, crowd), 1)
    assert (shared[1:].max(axis=1) / shared[1:].sum(axis=1)).mean() > 0.95


def test_cells_on_borders_and_corners_come_out_once(exact: Any, crowd: Labels) -> None:
    table = exact.segment(crowd, infer_size=64).table
    labels = rasterise(table, crowd.shape)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert labels[corner] > 0
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    assert set(table.loc[table["touches_edge"], "cell_id"]) == set(rim[rim > 0])


def test_tiles_without_signal_are_skipped_and_counted(exact: Any) -> None:
    labels = np.zeros((256, 384), np.uint32)
    labels[20:32, 20:32] = 1
    found = exact.segment(labels, infer_size=64)
    assert found.tally.tiles_done == found.tally.tiles
    assert 0 < found.tally.tiles_skipped < found.tally.tiles
    assert sum(batch[0] for batch in found.network.batches) == found.tally.tiles - found.tally.tiles_skipped
    assert_same_cells(found.table, exact.segment(labels, **WHOLE).table)


@pytest.mark.parametrize("shape", [(1, 200), (200, 1), (1, 1), (5, 9), (30, 43), (20, 300)])
@pytest.mark.parametrize(("scale", "resample"), [(0.5, False), (0.5, True), (1.0, False), (1.7, False), (1.7, True)])
def test_narrow_and_small_images_are_segmented(
    exact: Any, shape: tuple[int, int], scale: float, resample: bool
) -> None:
    y, x = np.indices(shape)
    labels = (1 + y // 8 + 1000 * (x // 9)).astype(np.uint32)
    labels[60:, 60:] = 0
    postprocess = {"resample": resample, "min_size": 1}
    tiled = exact.segment(labels, scale=scale, postprocess=postprocess, infer_size=64)
    assert_same_cells(tiled.table, exact.segment(labels, scale=scale, postprocess=postprocess, **WHOLE).table)
    assert_sound(tiled.table, shape)


def test_an_image_without_cells_gives_no_rows_with_the_right_types(exact: Any) -> None:
    labels = np.zeros((100, 150), np.uint32)
    labels[10:20, 10:20] = 1
    full = exact.segment(labels, infer_size=64).table
    empty = exact.segment(np.zeros_like(labels), infer_size=64)
    assert len(empty.table) == 0
    assert dict(empty.table.dtypes) == dict(full.dtypes)
    assert empty.tally.tiles_skipped == empty.tally.tiles
    assert empty.network.batches == []


@pytest.mark.parametrize("resample", [False, True], ids=["network-grid", "image-grid"])
@pytest.mark.parametrize("strip_px", [64, 8192])
def test_cells_larger_than_the_halo_are_counted_and_never_overlap(
    exact: Any, monkeypatch: pytest.MonkeyPatch, resample: bool, strip_px: int
) -> None:
    monkeypatch.setattr(stream, "_STRIP_PX", strip_px)
    y, x = np.indices((300, 480))
    labels = np.where((y - 150) ** 2 + (x - 140) ** 2 < 130**2, 1, 0)
    labels += np.where(abs(y - 150) + abs(x - 370) < 100, 2, 0)
    postprocess = {"resample": resample, "flow_threshold": 0.0}
    found = exact.segment(labels.astype(np.uint32), infer_size=64, scale=0.9, postprocess=postprocess)
    assert found.tally.cells_cut >= 2
    assert_sound(found.table, labels.shape)


def test_for_a_cell_larger_than_the_halo_the_window_is_grown(exact: Any) -> None:
    y, x = np.indices((260, 300))
    labels = np.where((y - 125) ** 2 + (x - 80) ** 2 < 60**2, 1, 0)
    labels += np.where((y % 20 < 14) & (x % 25 < 16) & (x > 150), 2 + y // 20 * 100 + x // 25, 0)
    whole = exact.segment(labels.astype(np.uint32), **WHOLE)
    found = exact.segment(labels.astype(np.uint32), infer_size=64)
    assert found.tally.windows_grown > 0
    assert (found.tally.cells_cut, found.tally.overlap_px, found.tally.duplicates) == (0, 0, 0)
    assert_same_cells(found.table, whole.table)


@pytest.mark.parametrize("count", [3, 7])
@pytest.mark.parametrize("strip_px", [64, 8192])
@pytest.mark.parametrize("disagreeing", [False, True], ids=["cells", "noise"])
def test_parts_give_the_rows_of_the_whole_in_order(
    exact: Any, crowd: Labels, monkeypatch: pytest.MonkeyPatch, count: int, strip_px: int, disagreeing: bool
) -> None:
    monkeypatch.setattr(stream, "_STRIP_PX", strip_px)
    # Flows of noise lead to cells of any size, which windows cannot agree on.
    image = exact.noise((260, 300), wavelength_px=90, seed=1) if disagreeing else exact.field(crowd)
    postprocess = {"flow_threshold": 0.0, "niter": 1000}
    whole = exact.segment_field(image, infer_size=64, postprocess=postprocess)
    assert (whole.tally.overlap_px > 0) == disagreeing
    parts = [
        exact.segment_field(image, infer_size=64, postprocess=postprocess, part=Part(i, count)) for i in range(count)
    ]
    rows = pd.concat([part.table for part in parts if len(part.table)], ignore_index=True)
    rows["cell_id"] = np.arange(1, len(rows) + 1)
    assert whole.table.equals(geopandas.GeoDataFrame(rows, geometry="geometry"))
    counts = [part.tally.counts() for part in parts]
    for name in ("windows", "windows_grown", "cells", "cells_cut", "overlap_px", "duplicates"):
        assert sum(count[name] for count in counts) == whole.tally.counts()[name], name


def test_progress_rises_to_all_tiles_and_cells(exact: Any, crowd: Labels) -> None:
    seen: list[tuple[int, int, int]] = []
    exact.segment(
        crowd, infer_size=64, on_progress=lambda tally: seen.append((tally.tiles_done, tally.tiles, tally.cells))
    )
    assert seen == sorted(seen)
    assert seen[0][0] < seen[-1][0] == seen[-1][1]
    assert seen[-1][2] == len(exact.segment(crowd, infer_size=64).table)


def test_every_stage_is_timed_with_its_peak_memory(exact: Any, crowd: Labels) -> None:
    tally = exact.segment(crowd, infer_size=64).tally
    stages = {"read", "wait_for_tiles", "forward", "blend", "postprocess", "wait_for_windows", "trace"}
    assert stages == set(tally.seconds_s) == set(tally.peak_memory_bytes)
    assert all(seconds >= 0 for seconds in tally.seconds_s.values())
    assert all(peak > 1e7 for peak in tally.peak_memory_bytes.values())


def test_tiles_that_do_not_fit_the_networks_stride_are_refused(exact: Any, crowd: Labels) -> None:
    for infer_size in (64, 80, 112):
        with pytest.raises(SettingsError, match="this network takes multiples of 32, at least 80"):
            exact.segment(crowd, network=exact.network(stride_px=32), infer_size=infer_size)


def workers_alive() -> list[str]:
    """Return the names of the engine's threads that still run."""
    names = ("read", "postprocess", "merge")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


@pytest.mark.parametrize("stage", ["cell_table", "window_cells", "read_input"])
def test_a_fault_in_a_worker_reaches_the_caller_and_ends_all_workers(
    exact: Any, crowd: Labels, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    real, calls = getattr(stream, stage), itertools.count()

    def broken(*arguments: Any, **named: Any) -> Any:
        if next(calls) == 3:
            raise SettingsError(f"{stage} broke", "it should not", "None.")
        return real(*arguments, **named)

    monkeypatch.setattr(stream, stage, broken)
    with pytest.raises(SettingsError, match=f"{stage} broke"):
        exact.segment(crowd, infer_size=64)
    assert workers_alive() == []


def test_a_fault_of_the_network_reaches_the_caller_and_ends_all_workers(exact: Any, crowd: Labels) -> None:
    network = exact.network()
    network.fails_after = 5
    with pytest.raises(DeviceError, match="the device is lost"):
        exact.segment(crowd, network=network, infer_size=64)
    assert workers_alive() == []


def test_a_caller_that_stops_early_leaves_no_worker(exact: Any, crowd: Labels) -> None:
    settings = {"pipeline": {"infer_size": 64, "overlap_margin": 16}}
    task = exact.task(exact.field(crowd), exact.network(), scale=1.0, **settings)
    tables = stream.stream_cells(task, Tally(), lambda _: None)
    next(tables)
    tables.close()
    assert workers_alive() == []


def test_what_is_under_way_is_bounded_however_slow_a_stage_is(
    exact: Any, crowd: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = {"tiles": [0], "windows": [0]}
    lock = threading.Lock()

    def count(what: str, change: int) -> None:
        with lock:
            under_way[what].append(under_way[what][-1] + change)

    real_read, real_submit, real_settle = stream.read_input, stream._Workers.submit, stream._Workers._settle

    def read(*arguments: Any, **named: Any) -> Any:
        count("tiles", 1)
        if (tile := real_read(*arguments, **named)) is None:
            count("tiles", -1)
        return tile

    def submit(self: Any, *arguments: Any) -> Any:
        count("windows", 1)
        return real_submit(self, *arguments)

    def settle(self: Any, waiting: Any) -> None:
        time.sleep(0.01)
        count("windows", -1)
        real_settle(self, waiting)

    monkeypatch.setattr(stream, "read_input", read)
    monkeypatch.setattr(stream._Workers, "submit", submit)
    monkeypatch.setattr(stream._Workers, "_settle", settle)
    network = exact.network()
    network.on_tile = lambda: count("tiles", -1)
    exact.segment(crowd, network=network, infer_size=64, read_queue_size=2, postprocess_queue_size=2, n_read_workers=3)
    assert max(under_way["tiles"]) <= 2 + 1
    assert max(under_way["windows"]) <= 2 + 1
    assert under_way["tiles"][-1] == under_way["windows"][-1] == 0


def test_windows_are_handed_over_as_tiles_come_not_a_whole_row_at_once(
    exact: Any, crowd: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over = [0]
    real_add, real_submit = stream.RollingField.add, stream._Workers.submit

    def add(self: Any, *arguments: Any) -> None:
        handed_over.append(0)
        real_add(self, *arguments)

    def submit(self: Any, *arguments: Any) -> Any:
        handed_over[-1] += 1
        return real_submit(self, *arguments)

    monkeypatch.setattr(stream.RollingField, "add", add)
    monkeypatch.setattr(stream._Workers, "submit", submit)
    wide = np.tile(crowd, (1, 6))
    exact.segment(wide, infer_size=64, overlap_margin=16)
    # But for the last rows, of which nothing is left to wait for.
    assert sum(handed_over[:-1]) > 40
    assert max(handed_over[:-1]) <= 3
