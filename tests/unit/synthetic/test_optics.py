import numpy as np
import pytest

from cohortseg.synthetic.optics import Camera, bleached_corner, photograph, uneven_light

CAMERA = Camera(
    blur_px=1.0,
    haze_px=6.0,
    haze_share=0.1,
    counts=1000.0,
    offset_counts=100.0,
    background_counts=50.0,
    counts_per_electron=2.0,
    read_noise_counts=5.0,
)
LIT = np.ones((200, 200), np.float32)


def photo(light: np.ndarray, camera: Camera = CAMERA) -> np.ndarray:
    return photograph(light, illumination=LIT, camera=camera, rng=np.random.default_rng(0))


def test_darkness_shows_offset_and_background() -> None:
    assert photo(np.zeros_like(LIT)).mean() == pytest.approx(150, rel=0.01)


def test_noise_is_shot_noise_and_read_noise() -> None:
    expected = np.sqrt(2.0 * 1050 + 5.0**2)
    assert photo(LIT).std() == pytest.approx(expected, rel=0.02)


def test_too_much_light_saturates_instead_of_wrapping() -> None:
    image = photo(LIT, CAMERA._replace(counts=1e6))
    assert image.min() == np.iinfo(np.uint16).max


def test_illumination_falls_towards_the_corners() -> None:
    light = uneven_light((100, 150), fall_off=0.3, rng=np.random.default_rng(0))
    assert light.min() == pytest.approx(0.7)
    assert light.max() == pytest.approx(1.0, abs=0.01)
    assert light[50, 75] > max(light[0, 0], light[-1, -1], light[0, -1], light[-1, 0])


def test_bleaching_spares_the_opposite_corner() -> None:
    left = bleached_corner((100, 100), depth=0.6, reach=0.3)
    assert left[-1, -1] == pytest.approx(0.4, abs=0.01)
    assert left[0, 0] == pytest.approx(1.0, abs=0.01)
