"""Small networks and their files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cohortseg.networks.unet import ResidualUNet

WIDTHS = (2, 4, 8, 16)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps converted networks out of the cache of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture
def network() -> ResidualUNet:
    """A network whose weights and normalisation statistics are all different from a new one's."""
    torch.manual_seed(3)
    network = ResidualUNet(WIDTHS, styled=True).eval()
    for buffer in network.buffers():
        if buffer.dtype.is_floating_point:
            buffer.uniform_(0.5, 1.5)
    network.diam_mean.data.fill_(17.5)
    return network


@pytest.fixture
def cellpose_file(tmp_path: Path, network: ResidualUNet) -> Path:
    """A checkpoint as Cellpose 1 to 3 writes it: a bare state dict."""
    path = tmp_path / "CP_2023"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def size_table() -> dict[str, Any]:
    """What a Cellpose size model holds for a style of 16 values."""
    rng = np.random.default_rng(1)
    return {
        "A": rng.normal(0, 0.5, (1, 16)).astype(np.float32),
        "smean": rng.normal(0, 0.2, 16).astype(np.float32),
        "diam_mean": 30.0,
        "ymean": np.float32(0.25),
    }
