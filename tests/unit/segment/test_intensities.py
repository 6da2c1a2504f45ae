"""Which intensities become 0 and 1."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cohortseg.errors import SettingsError
from cohortseg.segment.inputs import choose_channels
from cohortseg.segment.intensities import (
    Intensities,
    choose_normalisation,
    cohort_medians,
    drift,
    measure_intensities,
    with_bounds,
)
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.stores.source import ArraySource, ImageFacts

PIXELS = np.random.default_rng(0).integers(0, 200, (3, 20, 30)).astype(np.uint8)


def source(pixels: NDArray[Any] = PIXELS, *, is_rgb: bool = False) -> ArraySource:
    names = ("R", "G", "B") if is_rgb else ("DAPI", "CD45", "CD8")
    shape = (pixels.shape[1], pixels.shape[2])
    return ArraySource(pixels, ImageFacts(Path("made"), shape, pixels.dtype, names, is_rgb, None, 1, "array"))


def settings(normalise: dict[str, Any] | None = None, **others: Any) -> SegmentSettings:
    given = {"modality": "fluorescence", "invert": False, "normalise": normalise or {}, **others}
    return load_block(SegmentSettings, given)


def of(upper: float, lower: float = 0.0, name: str = "DAPI", dtype: str = "uint16") -> Intensities:
    return Intensities("fluorescence", dtype, name, lower, upper)


def test_each_channel_has_its_own_percentiles() -> None:
    own = settings({"channels": [{"channel": "cd45", "upper_percentile": 50}]})
    mix = choose_channels(source(), ("DAPI", "CD45"), 2)
    found = choose_normalisation(source(), mix, own)
    assert found.upper == (np.percentile(PIXELS[0], 99), np.percentile(PIXELS[1], 50))
    assert found.lower == (np.percentile(PIXELS[0], 1), np.percentile(PIXELS[1], 1))


def test_fixed_values_measure_nothing_and_are_swapped_for_dark_cells() -> None:
    fixed = {"policy": "fixed", "channels": [{"channel": 2, "lower": 3, "upper": 80}]}
    mix = choose_channels(source(), ("CD8",), 1)
    found = choose_normalisation(source(), mix, settings(fixed))
    assert (found.lower, found.upper) == ((3.0,), (80.0,))
    dark = choose_normalisation(source(), mix, settings(fixed, invert=True))
    assert (dark.lower, dark.upper) == ((80.0,), (3.0,))


def test_values_of_a_colour_image_are_those_of_its_mean() -> None:
    colour = source(is_rgb=True)
    mix = choose_channels(colour, None, 1)
    (measured,) = measure_intensities(colour, mix, settings())
    assert measured.upper == pytest.approx(np.percentile(PIXELS.astype(float).mean(axis=0), 99))
    given = with_bounds(settings({"policy": "cohort"}), {measured.name: (measured.lower, measured.upper)})
    by_cohort, by_image = choose_normalisation(colour, mix, given), choose_normalisation(colour, mix, settings())
    assert by_cohort.upper == pytest.approx(by_image.upper)
    assert by_cohort.lower == pytest.approx(by_image.lower)


def test_a_channel_without_values_is_an_error_that_names_it() -> None:
    fixed = {"policy": "fixed", "channels": [{"channel": "DAPI", "lower": 3, "upper": 80}]}
    mix = choose_channels(source(), ("CD8",), 1)
    with pytest.raises(SettingsError, match=r"nothing is given for 'CD8' of made; .* entries for: DAPI"):
        choose_normalisation(source(), mix, settings(fixed))
    with pytest.raises(SettingsError, match="policy is cohort, and no intensities"):
        choose_normalisation(source(), mix, settings({"policy": "cohort"}))


def test_given_values_win_over_those_of_the_cohort() -> None:
    own = settings({"policy": "cohort", "channels": [{"channel": "CD8", "lower": 1, "upper": 9}]})
    mix = choose_channels(source(), ("CD8", "DAPI"), 2)
    found = choose_normalisation(source(), mix, with_bounds(own, {"CD8": (0, 5), "DAPI": (2, 7)}))
    assert (found.lower, found.upper) == ((1.0, 2.0), (9.0, 7.0))


@pytest.mark.parametrize("dark_cells", [False, True])
def test_the_foreground_of_a_sparse_slide_decides_the_side_of_the_cells(dark_cells: bool) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.normal(150, 5, (1, 200, 200))
    pixels[0, 50:60, 50:60] += rng.uniform(800, 1000, (10, 10))
    pixels = np.round(2000 - pixels if dark_cells else pixels).astype(np.uint16)
    mix = choose_channels(source(pixels), (0,), 1)
    plain = choose_normalisation(source(pixels), mix, settings(invert=dark_cells))
    found = choose_normalisation(source(pixels), mix, settings({"foreground": True}, invert=dark_cells))
    assert found.lower == plain.lower  # the ground's side, which the inversion makes `lower`, too
    assert abs(plain.upper[0] - plain.lower[0]) < 100
    assert abs(found.upper[0] - found.lower[0]) > 900


def test_medians_are_of_alike_images_and_one_bad_image_does_not_move_them() -> None:
    images = [of(1000.0), of(1100.0), of(60_000.0), of(200.0, dtype="uint8"), of(900.0, name="dapi"), of(5.0, name="x")]
    medians = cohort_medians(images)
    assert medians["fluorescence", "uint16", "dapi"] == (0.0, 1050.0)
    assert medians["fluorescence", "uint8", "dapi"] == (0.0, 200.0)
    assert medians["fluorescence", "uint16", "x"] == (0.0, 5.0)


def test_drift_counts_doublings_of_the_range() -> None:
    medians = {of(0.0).kind: (100.0, 1100.0)}
    assert drift(of(2100.0, lower=100.0), medians) == 1.0
    assert drift(of(600.0, lower=100.0), medians) == -1.0
    assert math.isnan(drift(of(100.0, lower=100.0), medians))
