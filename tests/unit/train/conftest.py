"""A few small labelled images and a training that takes a second."""

import numpy as np
import pytest

from cohortseg.settings.training import TrainSettings
from cohortseg.train.crops import Example


def discs(side: int, diameter_px: float, seed: int) -> Example:
    """Return bright discs on a dark ground, on a shaken grid, so that they do not touch."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint32)
    pitch = 1.6 * diameter_px
    for i, (y, x) in enumerate(np.ndindex(int(side // pitch), int(side // pitch)), start=1):
        cy, cx = (np.array([y, x]) + 0.5) * pitch + rng.uniform(-0.2, 0.2, 2) * diameter_px
        labels[(yy - cy) ** 2 + (xx - cx) ** 2 < (diameter_px / 2) ** 2] = i
    image = (labels > 0) + rng.normal(0, 0.05, labels.shape)
    return Example(image[None].astype(np.float32), labels, diameter_px, "fluorescence")


@pytest.fixture
def examples() -> list[Example]:
    """Return three images of other cell sizes."""
    return [discs(96, diameter_px, seed) for seed, diameter_px in enumerate((12.0, 20.0, 40.0))]


@pytest.fixture
def tiles() -> tuple[Example, Example]:
    """Return an image of 25 cells that touch, and the same with the right half of cell 13, in the middle, as 30."""
    labels = np.pad(np.kron(np.arange(1, 26, dtype=np.uint32).reshape(5, 5), np.ones((16, 16), np.uint32)), 10)
    image = np.random.default_rng(0).random((1, *labels.shape), np.float32)
    apart = labels.copy()
    apart[:, 50:][labels[:, 50:] == 13] = 30
    return Example(image, labels, 18.0, "fluorescence"), Example(image, apart, 18.0, "fluorescence")


@pytest.fixture
def tiny() -> TrainSettings:
    """Return the settings of a training of 6 steps."""
    return TrainSettings(widths=(2, 4, 8), steps=6, checkpoint_every=2, batch_size=2, crop_px=32)
