"""OpenVINO against torch, and the same bits whatever runs beside a tile."""

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom

from cohortseg.errors import DeviceError
from cohortseg.networks import Network, devices, on_openvino, use_threads
from cohortseg.networks.facts import NetworkFacts
from cohortseg.networks.on_openvino import stream_count
from cohortseg.settings import SegmentSettings

HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def load(path: Path | None, **changes: Any) -> Network:
    settings = {"device": "cpu", "precision": "fp32", "model_path": path and str(path)} | changes
    return Network.of(SegmentSettings(**settings))


def batch(n: int, height: int = 48, width: int = 64) -> NDArray[np.float32]:
    """Blobs: on plain noise a trained network gives values far outside of any image's."""
    coarse = np.random.default_rng(n).random((n, 2, height // 16, width // 16), np.float32)
    return np.asarray(zoom(coarse, (1, 1, 16, 16), order=1), np.float32)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leaves the number of threads as it was."""
    monkeypatch.setattr(devices, "_asked_threads", None)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("ours", [True, False])
def test_it_gives_what_torch_gives(cellpose_file: Path, ours: bool) -> None:
    path = None if ours else cellpose_file
    one, other = load(path, backend="openvino"), load(path, backend="torch")
    assert (one.backend, other.backend, one.precision, one.device_name) == ("openvino", "torch", "fp32", "cpu")
    for height, width in ((48, 64), (128, 96)):
        tiles = batch(2, height, width)
        for of_one, of_other in zip(one.forward(tiles), other.forward(tiles), strict=True):
            assert (of_one.shape, of_one.dtype) == (of_other.shape, of_other.dtype)
            np.testing.assert_allclose(of_one, of_other, rtol=1e-4, atol=1e-4)
            assert np.abs(of_other).max() > 0.01


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("ours", [True, False])
def test_the_bits_do_not_depend_on_threads_streams_and_company(
    cellpose_file: Path, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, tiles = load(None if ours else cellpose_file), batch(6, 96, 128)
    use_threads(1)
    fields, styles = network.forward(tiles)
    for n_threads in (1, 2, 4):
        use_threads(n_threads)
        for memory in (2**40, 0):  # as many streams as threads, and one
            monkeypatch.setattr(on_openvino, "_MEMORY_BYTES", memory)
            np.testing.assert_array_equal(np.stack(list(network.stream(iter(tiles), None))), fields)
        np.testing.assert_array_equal(network.forward(tiles[3:4])[0][0], fields[3])
        np.testing.assert_array_equal(network.forward(tiles[3:4])[1][0], styles[3])


def test_fields_come_in_the_order_of_the_tiles_each_its_own_memory() -> None:
    network, tiles = load(None), batch(11, 32, 32)
    fields = list(network.stream(iter(tiles), None))
    for tile, of_tile in zip(tiles, fields, strict=True):
        np.testing.assert_array_equal(network.forward(tile[None])[0][0], of_tile)
    assert list(network.stream(iter(()), None)) == []


@pytest.mark.usefixtures("threads")
def test_it_takes_tiles_for_two_rounds_of_streams_and_no_more() -> None:
    use_threads(2)
    taken = 0

    def tiles() -> Iterator[NDArray[np.float32]]:
        nonlocal taken
        for tile in batch(20, 32, 32):
            taken += 1
            yield tile

    outputs = load(None).stream(tiles(), None)
    next(outputs)
    assert taken == 4
    list(islice(outputs, 3))
    assert taken == 7


def test_what_is_closed_early_leaves_nothing_behind_and_the_network_usable() -> None:
    network, tiles = load(None), batch(8, 64, 64)
    expected = list(network.stream(iter(tiles), None))
    threads_before = threading.active_count()
    outputs = network.stream(iter(tiles), None)
    next(outputs)
    outputs.close()
    assert threading.active_count() == threads_before
    np.testing.assert_array_equal(list(network.stream(iter(tiles), None)), expected)


def test_an_error_of_the_reader_passes_through_and_the_network_stays_usable() -> None:
    network, tiles = load(None), batch(4, 64, 64)

    def failing() -> Iterator[NDArray[np.float32]]:
        yield from tiles[:3]
        raise OSError("the image ends")

    with pytest.raises(OSError, match="the image ends"):
        list(network.stream(failing(), None))
    assert len(list(network.stream(iter(tiles), None))) == 4


@pytest.mark.skipif(HAS_BF16, reason="this CPU has bf16")
def test_bf16_is_refused_where_the_cpu_has_none_and_auto_is_fp32() -> None:
    assert load(None, precision="auto").precision == "fp32"
    with pytest.raises(DeviceError, match=r"precision 'bf16' was asked for.*precision: auto"):
        load(None, precision="bf16")


@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
def test_auto_is_bf16_where_the_cpu_has_it_close_to_fp32() -> None:
    fast = load(None, precision="auto")
    assert fast.precision == "bf16"
    np.testing.assert_allclose(fast.forward(batch(1))[0], load(None).forward(batch(1))[0], atol=0.5)


def test_torch_on_a_cpu_refuses_bf16() -> None:
    with pytest.raises(DeviceError, match="torch on this CPU has no arithmetic in bf16"):
        load(None, backend="torch", precision="bf16")


def test_streams_divide_the_threads_and_fit_the_memory() -> None:
    wide, narrow = (NetworkFacts.of_unet((2, n, 2 * n), True, 2, 30.0, "") for n in (32, 16))
    tile_px = 1024 * 1024
    assert [stream_count(wide, tile_px, n) for n in (1, 2, 3, 4, 64)] == [1, 2, 1, 2, 2]
    assert [stream_count(narrow, tile_px, n) for n in (1, 3, 4)] == [1, 3, 2]
    assert stream_count(wide, 256 * 256, 16) == 16
    assert stream_count(wide, 8192 * 8192, 16) == 1
