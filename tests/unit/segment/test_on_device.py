"""Fields that stay on a device give the cells that the host's kernels give, in the same tables."""

import itertools
import threading
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import torch

from cohortseg.arrays import Labels
from cohortseg.errors import DeviceError
from cohortseg.on_device import maths
from cohortseg.segment.prepare import prepare
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings

EXACT = ["cell_id", "area_px", "centroid_x", "centroid_y", "touches_edge"]
ROUNDED = ["score", "flow_error"]


@pytest.fixture(scope="module")
def crowd(exact: Any) -> Labels:
    labels: Labels = exact.crowd((211, 178), pitch_px=11.0, radius_px=6.2, seed=3)
    return labels


def noisy(exact: Any, labels: Labels) -> np.ndarray:
    """Return the field of labels with noise, some of which the flow error has to judge."""
    field = exact.field(labels)
    noise = np.random.default_rng(0).normal(0, 1, field.shape) * np.array([1.5, 1.5, 3])[:, None, None]
    return (field + noise).astype(np.float32)  # type: ignore[no-any-return]


def on_device(exact: Any, field: np.ndarray, device: str | None, *, scale: float = 1.0, **how: Any) -> Any:
    network = exact.network(diameter_px=8.0 * max(scale, 1.0), torch_device=device)
    return exact.segment_field(field, network=network, scale=scale, **how)


def assert_same_rows(found: geopandas.GeoDataFrame, expected: geopandas.GeoDataFrame) -> None:
    """Assert that the rows are the same, in order: exact but for means, which are added in another order."""
    assert list(shapely.to_wkb(found.geometry)) == list(shapely.to_wkb(expected.geometry))
    for name in EXACT:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    for name in ROUNDED:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("resample", [False, True], ids=["network-grid", "image-grid"])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_the_rows_are_those_of_the_host(
    exact: Any, crowd: Labels, torch_device: str, scale: float, resample: bool
) -> None:
    labels = np.kron(crowd, np.ones((2, 2), np.uint32)) if scale < 1 else crowd
    field, how = noisy(exact, labels), {"scale": scale, "postprocess": {"resample": resample}, "infer_size": 64}
    expected = on_device(exact, field, None, **how)
    found = on_device(exact, field, torch_device, **how)
    assert len(expected.table) > 0.5 * (np.unique(labels).size - 1)
    assert expected.tally.windows > 1
    assert found.tally.counts() == expected.tally.counts()
    assert_same_rows(found.table, expected.table)


def test_tiles_and_hands_change_nothing_to_the_last_bit(exact: Any, crowd: Labels, torch_device: str) -> None:
    field = exact.field(crowd)
    whole = on_device(exact, field, torch_device, infer_size=2048)
    tiled = on_device(exact, field, torch_device, infer_size=64)
    hands = {"n_postprocess_processes": 4, "n_merge_tile_processes": 3, "batch_size": 3, "postprocess_queue_size": 1}
    assert whole.tally.windows == 1 < tiled.tally.windows
    assert on_device(exact, field, torch_device, infer_size=64, **hands).table.equals(tiled.table)
    by_place = ["centroid_y", "centroid_x"]
    one, other = (found.table.sort_values(by_place, ignore_index=True) for found in (whole, tiled))
    assert one.drop(columns=["cell_id", "geometry"]).equals(other.drop(columns=["cell_id", "geometry"]))
    assert list(shapely.to_wkb(one.geometry)) == list(shapely.to_wkb(other.geometry))


def test_a_window_is_grown_for_a_large_cell_and_empty_tiles_are_skipped(exact: Any, torch_device: str) -> None:
    y, x = np.indices((260, 420))
    labels = np.where((y - 125) ** 2 + (x - 80) ** 2 < 60**2, 1, 0).astype(np.uint32)
    labels[230:242, 400:412] = 2
    expected = on_device(exact, exact.field(labels), None, infer_size=64)
    found = on_device(exact, exact.field(labels), torch_device, infer_size=64)
    assert found.tally.windows_grown > 0
    assert found.tally.tiles_skipped > 0
    assert found.tally.counts() == expected.tally.counts()
    assert_same_rows(found.table, expected.table)


def test_an_image_without_cells_gives_no_rows(exact: Any, torch_device: str) -> None:
    field = exact.field(np.zeros((90, 120), np.uint32))
    field[:2] = np.random.default_rng(0).normal(0, 3, (2, 90, 120))
    assert len(on_device(exact, field, torch_device, infer_size=64).table) == 0


def running_out(monkeypatch: pytest.MonkeyPatch, name: str, failures: range) -> None:
    """Let the memory run out in those calls of a stage."""
    real, calls = getattr(maths, name), itertools.count()

    def short(*arguments: Any, **named: Any) -> Any:
        if next(calls) in failures:
            raise torch.OutOfMemoryError("tried to allocate 7 GiB")
        return real(*arguments, **named)

    monkeypatch.setattr(maths, name, short)


@pytest.mark.parametrize("stage", ["follow_flow", "group_ends", "flow_errors", "mean_probability"])
def test_memory_that_runs_out_for_a_while_costs_no_cell(
    exact: Any, crowd: Labels, torch_device: str, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    expected = on_device(exact, exact.field(crowd), torch_device, infer_size=64)
    running_out(monkeypatch, stage, range(3, 5))
    found = on_device(exact, exact.field(crowd), torch_device, infer_size=64, n_postprocess_processes=1)
    assert found.table.equals(expected.table)


def test_a_window_that_does_not_fit_is_an_error_and_ends_all_workers(
    exact: Any, crowd: Labels, torch_device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_out(monkeypatch, "follow_flow", range(3, 10**6))
    with pytest.raises(DeviceError, match=r"ran out of memory on a window of \d+ x \d+ px \(tried to allocate 7 GiB\)"):
        on_device(exact, exact.field(crowd), torch_device, infer_size=64)
    names = ("read", "postprocess", "merge")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


@pytest.mark.parametrize(
    ("device", "diameter", "window_px"),
    [(None, 8.0, 1024), ("cpu", 8.0, 3072), ("cpu", 4.0, 3072), ("cpu", 12.0, 2048), ("cpu", 99.0, 1024)],
)
def test_windows_are_larger_on_a_device(
    exact: Any, crowd: Labels, device: str | None, diameter: float, window_px: int
) -> None:
    network = exact.network(torch_device=device)
    source = exact.task(exact.field(crowd), network, scale=1.0).source
    settings = SegmentSettings(channels=("y", "x", "logit"), diameter=diameter)
    assert prepare(source, network, settings, Tally()).window_px == window_px
