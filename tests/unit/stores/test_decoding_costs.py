"""Each tile, strip or chunk is decoded once, though boxes overlap; the log says what a poor layout costs."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from cohortseg.arrays import Box
from cohortseg.stores import layout_notes, segment_cache, tiff_planes
from cohortseg.stores.images import FIRST_PAGE, open_image

SIDE = 1000
PIXELS = np.random.default_rng(0).integers(0, 60_000, (3, SIDE, SIDE), dtype=np.uint16)


def rows_of_boxes(side: int, overlap: int) -> Iterator[Box]:
    for y in range(0, SIDE - overlap, side - overlap):
        for x in range(0, SIDE - overlap, side - overlap):
            yield Box(y, x, min(y + side, SIDE), min(x + side, SIDE))


def tiff(**options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / "a.tif", PIXELS, photometric="minisblack", compression="zlib", **options)
        return folder / "a.tif"

    return write


def zarray(**options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        zarr.create_array(folder / "a.zarr", shape=PIXELS.shape, dtype="u2", **options)[...] = PIXELS
        return folder / "a.zarr"

    return write


LAYOUTS = {
    "tiles": tiff(tile=(128, 128)),
    "strips": tiff(rowsperstrip=16),
    "one strip": tiff(rowsperstrip=SIDE),
    "chunks": zarray(chunks=(1, 125, 125)),
    "shards": zarray(chunks=(1, 125, 125), shards=(1, 500, 500)),
    "chunks of all channels": zarray(chunks=(3, 125, 125)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_overlapping_boxes_decode_each_pixel_of_the_channels_used_once(layout: str, tmp_path: Path) -> None:
    with open_image(LAYOUTS[layout](tmp_path), FIRST_PAGE) as source:
        for box in rows_of_boxes(256, 48):
            np.testing.assert_array_equal(source.read([2, 0], box), PIXELS[[2, 0], *box.slices])
        assert source.decoded_bytes <= 1.1 * 2 * PIXELS[0].nbytes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_a_scratch_file_each_pixel_is_decoded_once_however_often_and_little_memory(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_cache, "WITH_SCRATCH_BYTES", 10**5)
    (tmp_path / "scratch").mkdir()
    with open_image(LAYOUTS[layout](tmp_path), FIRST_PAGE) as source:
        source.use_scratch(tmp_path / "scratch", 10**9)
        for box in [*rows_of_boxes(400, 0), *rows_of_boxes(256, 48)]:
            np.testing.assert_array_equal(source.read([2, 0], box), PIXELS[[2, 0], *box.slices])
        assert 2 * PIXELS[0].nbytes <= source.decoded_bytes <= 1.1 * 2 * PIXELS[0].nbytes


def test_of_a_file_too_wide_for_the_cache_memory_stays_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_planes, "CACHE_BYTES", 10**5)
    monkeypatch.setattr(tiff_planes, "TILES_LIMIT_BYTES", 2 * 10**5)
    with open_image(LAYOUTS["tiles"](tmp_path), FIRST_PAGE) as source:
        for box in rows_of_boxes(256, 48):
            np.testing.assert_array_equal(source.read([1], box)[0], PIXELS[1][box.slices])
        assert source.decoded_bytes > 1.3 * PIXELS[0].nbytes


@pytest.mark.parametrize(
    ("layout", "level", "says"),
    [
        ("strips", logging.INFO, "stored in strips of 16 rows"),
        ("one strip", logging.WARNING, "each channel is one compressed strip; all 2 MB of it"),
        ("chunks of all channels", logging.INFO, "each chunk holds 3 channels or planes"),
        ("tiles", None, ""),
        ("chunks", None, ""),
        ("shards", None, ""),
    ],
)
def test_the_log_says_what_a_layout_costs_and_how_to_convert(
    layout: str, level: int | None, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(layout_notes, "LARGE_BYTES", 10**6)
    path = LAYOUTS[layout](tmp_path)
    with caplog.at_level(logging.INFO, "cohortseg"), open_image(path, FIRST_PAGE):
        pass
    if level is None:
        assert not caplog.records
    else:
        (record,) = caplog.records
        assert record.levelno == level
        assert says in record.getMessage()
        assert f"`cohortseg convert {path} --output a.ome.zarr`" in record.getMessage()


def test_huge_chunks_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout_notes, "LARGE_BYTES", 10**6)
    with open_image(zarray(chunks=(1, SIDE, SIDE))(tmp_path), replace(FIRST_PAGE)):
        pass
    assert "chunks of 2 MB are decoded whole" in caplog.text


def test_a_small_image_in_strips_is_not_worth_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cohortseg"), open_image(LAYOUTS["one strip"](tmp_path), FIRST_PAGE):
        pass
    assert not caplog.records
