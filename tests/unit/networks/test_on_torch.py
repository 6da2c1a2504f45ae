"""The network on a GPU, where there is one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from cohortseg.errors import DeviceError
from cohortseg.networks import Network
from cohortseg.settings import SegmentSettings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")

# Blobs, as images have: on plain noise a trained network gives values far outside of any image's.
TILES = np.kron(np.random.default_rng(0).random((13, 2, 16, 20), np.float32), np.ones((16, 16), np.float32))


def load(**changes: Any) -> Network:
    return Network.of(SegmentSettings(**{"device": "cuda"} | changes))


def fields_of(network: Network, tiles: np.ndarray, batch_size: int | None) -> list[np.ndarray]:
    """Return the fields of tiles, copied from where the network leaves them."""
    fields = list(network.stream(iter(tiles), batch_size))
    if network.torch_device is None:
        return fields
    assert all(field.device.type == network.torch_device and field.dtype == torch.float32 for field in fields)
    return [field.cpu().numpy() for field in fields]


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Room for a few tiles."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(400 * 2**20 / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("batch_size", [None, 1, 4, 64])
def test_it_gives_what_the_cpu_gives(batch_size: int | None) -> None:
    expected = fields_of(load(device="cpu", precision="fp32"), TILES, None)
    exact = fields_of(load(precision="fp32"), TILES, batch_size)
    np.testing.assert_allclose(exact, expected, rtol=1e-3, atol=1e-3)
    network = load()
    rough = fields_of(network, TILES, batch_size)
    assert network.backend == "torch"
    assert np.sqrt(np.mean(np.square(np.subtract(rough, expected)))) < 0.1 * np.std(expected)


def test_two_runs_give_the_same_bits() -> None:
    network = load()
    first = fields_of(network, TILES, None)
    np.testing.assert_array_equal(fields_of(network, TILES, None), first)
    np.testing.assert_array_equal(network.forward(TILES)[0], first)


@pytest.mark.usefixtures("little_memory")
def test_too_large_batches_are_made_smaller_without_losing_a_tile() -> None:
    tiles = np.tile(TILES, (4, 1, 1, 1))
    expected = fields_of(load(device="cpu", precision="fp32"), tiles, None)
    fields = fields_of(load(precision="fp32"), tiles, 52)
    np.testing.assert_allclose(fields, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("little_memory")
def test_a_tile_that_does_not_fit_is_an_error() -> None:
    tile = np.zeros((2, 4096, 4096), np.float32)
    with pytest.raises(DeviceError, match="ran out of memory on one tile of 4096 x 4096 px"):
        list(load().stream(iter([tile]), None))


def test_closing_early_leaves_the_network_usable() -> None:
    network = load()
    outputs = network.stream(iter(TILES), 2)
    next(outputs)
    outputs.close()
    assert len(list(network.stream(iter(TILES), 2))) == len(TILES)
