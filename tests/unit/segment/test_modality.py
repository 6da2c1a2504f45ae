"""What kind of picture an image is taken for."""

import csv
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import ChannelError
from cohortseg.segment.modality import Modality, choose_modality, guess_modality
from cohortseg.settings import SegmentSettings
from cohortseg.stores.images import open_image
from cohortseg.stores.source import FIRST_PAGE, ArraySource, ImageFacts, ImageSource
from cohortseg.synthetic import crowded_field, empty_field, histology_field

Pixels = NDArray[Any]
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
STAINS = ("DAPI", "Cellbound1", "Cellbound2")
KINDS = {"fluorescence": "fluorescence", "colour_histology": "histology", "gray_brightfield": "grey"}


def facts(pixels: Pixels, channels: tuple[str, ...], *, is_rgb: bool) -> ImageFacts:
    return ImageFacts(Path("made"), pixels.shape[-2:], pixels.dtype, channels, is_rgb, None, 1, "array")


def source(pixels: Pixels, *names: str) -> ArraySource:
    """Return an image of (y, x), of (y, x, 3) in colour, or of (channel, y, x) with names."""
    if pixels.ndim == 3 and not names:
        pixels, names = np.moveaxis(pixels, -1, 0), ("R", "G", "B")
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    names = names or ("0",)
    return ArraySource(pixels, facts(pixels, names, is_rgb=names == ("R", "G", "B")))


def guess(pixels: Pixels) -> str:
    return guess_modality(source(pixels)).name


@cache
def fluorescence() -> Pixels:
    """Return nuclei on dark ground, (y, x) uint16 of 12 bits."""
    pixels, _ = crowded_field((300, 320), n_cells=60, diameter_px=20.0, seed=3)
    return pixels


@cache
def histology() -> Pixels:
    """Return a stained section, (y, x, 3) uint8."""
    pixels, _ = histology_field(4)
    return pixels


def blobs(seed: int) -> NDArray[np.float64]:
    """Return the thickness of round cells that overlap, (y, x) from 0 to 1."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:300, :300]
    thickness = np.zeros((300, 300))
    for centre_y, centre_x in rng.uniform(0, 300, (40, 2)):
        squared = ((y - centre_y) ** 2 + (x - centre_x) ** 2) / 14.0**2
        thickness = np.maximum(thickness, np.sqrt(np.clip(1 - squared, 0, None)))
    return thickness


def phase_contrast() -> Pixels:
    """Return dark cells with light halos on a middle grey, (y, x) uint8."""
    thickness, rng = blobs(1), np.random.default_rng(2)
    halo = np.clip(cv2.GaussianBlur((thickness > 0) * 1.0, (0, 0), 5) - (thickness > 0), 0, 1)
    return np.clip(128 - 50 * thickness + 90 * halo + rng.normal(0, 3, thickness.shape), 0, 255).astype(np.uint8)


def dic() -> Pixels:
    """Return cells in relief on a middle grey, (y, x) uint8."""
    slope = np.gradient(cv2.GaussianBlur(blobs(3), (0, 0), 1))[0]
    noise = np.random.default_rng(4).normal(0, 2, slope.shape)
    return np.clip(120 + 300 * slope + noise, 0, 255).astype(np.uint8)


def brightfield() -> Pixels:
    """Return absorbing cells on light ground, (y, x) uint8."""
    noise = np.random.default_rng(6).normal(0, 2, (300, 300))
    return np.clip(225 - 130 * blobs(5) + noise, 0, 255).astype(np.uint8)


def in_colour(pixels: Pixels, *weights: float) -> Pixels:
    """Return grey pixels as (y, x, 3) uint8, each channel a multiple of them."""
    grey = pixels.astype(float) / (255 if pixels.dtype == np.uint8 else pixels.max()) * 255
    return np.stack([grey * weight for weight in weights], axis=-1).astype(np.uint8)


CASES: dict[str, tuple[Callable[[], Pixels], str]] = {
    "nuclei": (fluorescence, "fluorescence"),
    "nuclei, 8 bit": (lambda: (fluorescence() >> 4).astype(np.uint8), "fluorescence"),
    "nuclei, float": (lambda: fluorescence() / 4095.0, "fluorescence"),
    "nuclei, standardised": (lambda: (fluorescence() - 500.0) / 300, "fluorescence"),
    "nuclei, on a pedestal": (lambda: fluorescence() // 4 + 32768, "fluorescence"),
    "nuclei, colours alike": (lambda: in_colour(fluorescence(), 1, 1, 1), "fluorescence"),
    "nuclei, blue": (lambda: in_colour(fluorescence(), 0, 0.1, 1), "fluorescence"),
    "nuclei, green": (lambda: in_colour(fluorescence(), 0, 1, 0), "fluorescence"),
    "section": (histology, "histology"),
    "section, 16 bit": (lambda: histology().astype(np.uint16) * 257, "histology"),
    "section, dim": (lambda: histology() // 2, "histology"),
    "section, a corner": (lambda: histology()[:80, :90], "histology"),
    "section, half size": (lambda: cv2.resize(histology(), None, fx=0.5, fy=0.5), "histology"),
    "section, grey": (lambda: histology().mean(axis=2).astype(np.uint8), "grey"),
    "phase contrast": (phase_contrast, "grey"),
    "phase contrast, inverted": (lambda: 255 - phase_contrast(), "grey"),
    "phase contrast, 16 bit": (lambda: phase_contrast().astype(np.uint16) * 257, "grey"),
    "phase contrast, 12 of 16 bit": (lambda: phase_contrast().astype(np.uint16) * 16, "grey"),
    "phase contrast, tinted": (lambda: in_colour(phase_contrast(), 1, 0.9, 0.7), "grey"),
    "DIC": (dic, "grey"),
    "brightfield": (brightfield, "grey"),
    "brightfield, tinted": (lambda: in_colour(brightfield(), 1, 0.92, 0.8), "grey"),
    "nuclei, inverted": (lambda: 4095 - fluorescence(), "grey"),
    "brightfield, inverted": (lambda: 255 - brightfield(), "fluorescence"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_picture_is_told_by_its_looks(case: str) -> None:
    make, expected = CASES[case]
    assert guess(make()) == expected


def test_a_clear_picture_is_certain_and_noise_is_not() -> None:
    assert guess_modality(source(fluorescence())).confidence > 0.95  # type: ignore[operator]
    assert not guess_modality(source(histology())).uncertain
    rng = np.random.default_rng(0)
    assert guess_modality(source(rng.integers(40, 60, (200, 200), np.uint8))).uncertain


def test_names_of_channels_count() -> None:
    pixels = np.stack([phase_contrast(), phase_contrast()])
    assert guess_modality(source(pixels, "Phase", "DAPI"), ["Phase"]).name == "grey"
    nuclei = np.stack([fluorescence()] * 2)
    assert guess_modality(source(nuclei, "BF", "Hoechst 33342"), ["Hoechst 33342"]).features["name"] == 1
    assert guess_modality(source(nuclei, "BF", "Hoechst 33342")).features["name"] == -1
    for name in ("DAPI", "eGFP", "Cy5", "CD45", "AF647", "WGA-Alexa 488", "nucleus", "mCherry"):
        assert guess_modality(source(nuclei[:1], name)).features["name"] == 1, name
    for name in ("Bright field", "DIC", "phase contrast", "TL", "transmitted light", "BF_1", "Ph2_1", "z0-trans"):
        assert guess_modality(source(nuclei[:1], name)).features["name"] == -1, name
    for name in ("0", "channel 1", "bfx", "telegraph", "intensity"):
        assert guess_modality(source(nuclei[:1], name)).features["name"] == 0, name


def test_a_channel_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ChannelError, match="CD8"):
        guess_modality(source(fluorescence()), ["CD8"])


def test_all_colours_are_looked_at_whichever_is_segmented() -> None:
    assert guess_modality(source(histology()), ["R"]) == guess_modality(source(histology()))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((40, 50), np.uint8),
        np.full((40, 50), 65535, np.uint16),
        np.full((40, 50), np.nan, np.float32),
        np.full((40, 50), np.inf, np.float32),
        np.full((40, 50), -3.0),
        np.zeros((1, 1), np.uint8),
        np.full((3, 2, 3), 7, np.uint8),
        np.ones((5, 5), bool),
        np.zeros((30, 30, 3), np.uint8),
    ],
)
@pytest.mark.filterwarnings("error")
def test_pictures_of_nothing_are_told_without_an_error(pixels: Pixels) -> None:
    told = guess_modality(source(pixels))
    assert told.name in KINDS.values()
    assert told.confidence is not None
    assert 0 <= told.confidence <= 1
    assert all(np.isfinite(value) for value in told.features.values())


def test_a_field_without_cells_is_uncertain() -> None:
    assert guess_modality(source(empty_field(3)[0])).uncertain


def test_pixels_that_are_not_finite_do_not_count() -> None:
    pixels = fluorescence().astype(np.float32)
    pixels[::7, ::3] = np.nan
    pixels[5] = np.inf
    assert guess(pixels) == "fluorescence"


def test_what_lies_beyond_a_scan_does_not_count() -> None:
    scan = np.zeros((300 * 6, 320 * 6, 3), np.uint8)
    height, width = histology().shape[:2]
    scan[500 : 500 + height, 700 : 700 + width] = histology()
    assert guess(scan) == "histology"
    field = np.zeros((900, 900), np.uint16)
    field[300:600, 200:520] = fluorescence()
    assert guess(field) == "fluorescence"


class Endless(ImageSource):
    """An image of 100,000 x 90,000 px that is made as it is read, and counts what is read."""

    def __init__(self) -> None:
        super().__init__(
            ImageFacts(Path("endless"), (100_000, 90_000), np.dtype(np.uint16), ("0",), False, None, 1, "made")
        )
        self.read_px, self.largest_px = 0, 0

    def _read(self, channels: Any, box: Box) -> Pixels:
        self.read_px += box.height * box.width
        self.largest_px = max(self.largest_px, box.height * box.width)
        return np.ascontiguousarray(fluorescence()[None, : box.height, : box.width])


def test_a_huge_image_costs_no_more_than_a_small_one() -> None:
    endless = Endless()
    assert guess_modality(endless).name == "fluorescence"
    assert endless.read_px <= 64 * 256 * 256
    assert endless.largest_px == 256 * 256


@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (100, 30_000), (257, 255), (2049, 2047)])
def test_any_shape_is_read_within_its_bounds(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 99, shape, np.uint8)
    assert 0 <= guess_modality(source(pixels)).confidence <= 1  # type: ignore[operator]


def test_a_given_modality_is_not_questioned() -> None:
    told = choose_modality(source(histology()), SegmentSettings(modality="fluorescence"))
    assert told == Modality("fluorescence", "given", None, {})
    assert not told.uncertain
    assert choose_modality(source(histology()), SegmentSettings()).name == "histology"


@pytest.mark.skipif(not (DATA / "dsb2018").is_dir(), reason="../shared/data/dsb2018 is absent")
def test_at_least_97_of_100_real_images_are_right() -> None:
    with (DATA / "dsb2018" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for i, row in enumerate(csv.DictReader(file)) if row["kind"] != "fluorescence" or i % 4 == 0]
    right: Counter[str] = Counter()
    for row in rows:
        with open_image(DATA / "dsb2018" / "images" / f"{row['id']}.png", FIRST_PAGE) as image:
            right[row["kind"]] += guess_modality(image).name == KINDS[row["kind"]]
    for kind in KINDS:
        assert right[kind] >= 0.97 * sum(row["kind"] == kind for row in rows), right


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wsi/CMU-1-Small-Region.svs", "histology"),
        ("cardiomyocyte_B03_mip_065um.zarr", "fluorescence"),
        *((f"vizgen_z/mosaic_{stain}_z{z}.tif", "fluorescence") for stain in STAINS for z in range(7)),
    ],
)
def test_other_real_images_are_right(name: str, expected: str) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"../shared/data/{name} is absent")
    with open_image(DATA / name, FIRST_PAGE) as image:
        assert guess_modality(image).name == expected
