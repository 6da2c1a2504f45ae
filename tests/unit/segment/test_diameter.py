"""Where the diameter comes from: the user, the size model, or a first pass."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cohortseg.errors import SettingsError
from cohortseg.segment.prepare import given_diameter_px, make_task, prepare
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings
from cohortseg.stores.source import ArraySource, ImageFacts


@dataclass
class Size:
    """Predicts a fixed diameter and remembers the styles that it was asked about."""

    answer_px: float
    styles: list[NDArray[np.float32]] = field(default_factory=list)

    def predict_px(self, style: NDArray[np.float32]) -> float:
        self.styles.append(style)
        return self.answer_px


@pytest.fixture
def source(exact: Any) -> ArraySource:
    """Return an image that is the field of a crowd of cells about 14 px wide."""
    pixels = exact.field(exact.crowd((160, 200), pitch_px=15, radius_px=7, seed=3))
    return exact.task(pixels, exact.network(), scale=1.0).source  # type: ignore[no-any-return]


@dataclass
class Network:
    """The image is its own field, once the normalisation is taken back; styles are of the batch's size."""

    size_model: Size | None
    diameter_px: float = 14.0
    n_channels: int = 3
    n_inputs: int = 3
    stride_px: int = 8
    scale_free: bool = False
    torch_device: None = None
    batches: list[tuple[int, ...]] = field(default_factory=list)

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.batches.append(batch.shape)
        fields = 10 * (batch - np.float32(0.5))
        return fields, np.tile(np.float32([3.0, 4.0]), (len(batch), 1))

    def stream(
        self, tiles: Iterator[NDArray[np.float32]], batch_size: int | None
    ) -> Generator[NDArray[np.float32], None, None]:
        for tile in tiles:
            yield self.forward(tile[None])[0][0]


SETTINGS = SegmentSettings(channels=("y", "x", "logit"))


def test_a_diameter_given_wins_over_the_size_model(source: ArraySource) -> None:
    network = Network(Size(9.0))
    settings = SETTINGS.model_copy(update={"diameter": 28.0})
    prepared = prepare(source, network, settings, Tally())
    task, diameter = make_task(source, network, settings, prepared), prepared.diameter
    assert (diameter.diameter_px, diameter.origin, task.geometry.scale) == (28.0, "given", 0.5)
    assert not network.batches


def test_the_size_model_wins_over_the_estimate_and_is_refined_by_the_cells_found(source: ArraySource) -> None:
    size = Size(20.0)
    network = Network(size)
    diameter = prepare(source, network, SETTINGS, Tally()).diameter
    assert (diameter.origin, diameter.n_cells > 20) == ("size model", True)
    assert diameter.diameter_px == pytest.approx(14, rel=0.15)
    # The style is taken at the image's own scale and has length 1; the cells at 14 / 20 of it.
    np.testing.assert_allclose(size.styles, [[0.6, 0.8]], rtol=1e-6)
    assert network.batches == [(1, 3, 160, 200), (1, 3, 112, 144)]


def test_without_a_size_model_the_diameter_is_estimated(source: ArraySource) -> None:
    diameter = prepare(source, Network(None), SETTINGS, Tally()).diameter
    assert diameter.origin == "estimated"
    assert diameter.diameter_px == pytest.approx(14, rel=0.15)


def test_a_network_for_cells_of_all_sizes_sees_an_image_as_it_is_unless_a_diameter_is_given(
    source: ArraySource,
) -> None:
    network = Network(None, scale_free=True)
    prepared = prepare(source, network, SETTINGS, Tally())
    assert (prepared.diameter.origin, prepared.diameter.n_cells) == ("network's own", 0)
    assert make_task(source, network, SETTINGS, prepared).geometry.scale == 1.0
    assert not network.batches
    given = SETTINGS.model_copy(update={"diameter": 28.0})
    prepared = prepare(source, network, given, Tally())
    assert (prepared.diameter.origin, make_task(source, network, given, prepared).geometry.scale) == ("given", 0.5)


@pytest.mark.parametrize("size_model", [None, Size(20.0)])
def test_an_empty_image_takes_the_networks_own_diameter(size_model: Size | None) -> None:
    facts = ImageFacts(
        path=Path("empty"),
        shape=(64, 64),
        dtype=np.dtype(np.float32),
        channels=("y", "x", "logit"),
        is_rgb=False,
        pixel_size_um=None,
        n_planes=1,
        format="array",
    )
    empty = ArraySource(np.zeros((3, 64, 64), np.float32), facts)
    diameter = prepare(empty, Network(size_model), SETTINGS, Tally()).diameter
    assert (diameter.diameter_px, diameter.origin, diameter.n_cells) == (14.0, "network", 0)


def test_a_diameter_in_micrometres_needs_the_size_of_a_pixel(source: ArraySource) -> None:
    in_um = SegmentSettings(diameter_um=9.0)
    with pytest.raises(SettingsError, match=r"diameter_um is 9, and .* does not say how large its pixels are"):
        given_diameter_px(source, in_um)
    source.pixel_size_um = 0.5
    assert given_diameter_px(source, in_um) == 18.0
    source.pixel_size_um = 0.25
    assert given_diameter_px(source, in_um) == 36.0
    assert given_diameter_px(source, SegmentSettings(diameter=7.0)) == 7.0
    assert given_diameter_px(source, SegmentSettings()) is None
