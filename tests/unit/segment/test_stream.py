"""Tiled equals whole: with a network that is exact, whatever differs is the engine's fault."""

from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from cohortseg.arrays import Box, Labels
from cohortseg.errors import SettingsError
from cohortseg.segment import stream
from cohortseg.shapes import rasterise, rasterise_into

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

    def watched(columns: tuple[int, int]) -> Any:
        widest.append(columns[1] - columns[0])
        return kept(columns)

    monkeypatch.setattr(stream, "RollingField", watched)
    monkeypatch.setattr(stream, "_STRIP_PX", 64)
    exact.segment(crowd, infer_size=64)
    assert len(widest) > 2
    assert max(widest) <= 64 + 2 * 32


@pytest.mark.parametrize(
    "hands",
    [
        {"n_postprocess_processes": 1, "postprocess_queue_size": 1},
        {"n_postprocess_processes": 4, "n_merge_tile_processes": 3},
        {"batch_size": 3},
    ],
    ids=["one", "many", "batches"],
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
    y, x = np.indices((260, 300))
    labels = np.where((y - 130) ** 2 + (x - 90) ** 2 < 85**2, 1, 0) + np.where(abs(y - 130) + abs(x - 240) < 60, 2, 0)
    postprocess = {"resample": resample, "flow_threshold": 0.0}
    found = exact.segment(labels.astype(np.uint32), infer_size=64, scale=0.9, postprocess=postprocess)
    assert found.tally.cells_cut >= 2
    assert_sound(found.table, labels.shape)


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
    assert {"read", "forward", "postprocess", "trace", "wait"} == set(tally.seconds_s) == set(tally.peak_memory_bytes)
    assert all(seconds >= 0 for seconds in tally.seconds_s.values())
    assert all(peak > 1e7 for peak in tally.peak_memory_bytes.values())


def test_tiles_that_do_not_fit_the_networks_stride_are_refused(exact: Any, crowd: Labels) -> None:
    for infer_size in (64, 80, 112):
        with pytest.raises(SettingsError, match="this network takes multiples of 32, at least 96"):
            exact.segment(crowd, network=exact.network(stride_px=32), infer_size=infer_size)


def test_a_fault_in_a_worker_reaches_the_caller(exact: Any, crowd: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise SettingsError("the tracing broke", "it should not", "None.")

    monkeypatch.setattr(stream, "cell_table", broken)
    with pytest.raises(SettingsError, match="the tracing broke"):
        exact.segment(crowd, infer_size=64)
