"""ND2 files of our own making: the library `nd2` reads them as well, and says the same."""

import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import nd2
import numpy as np
import pytest

from cohortseg.arrays import Box
from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores import layout_notes
from cohortseg.stores.byte_files import OpenFile
from cohortseg.stores.images import FIRST_PAGE, open_image

Write = Callable[..., Path]
RNG = np.random.default_rng(0)
TWO_STAINS = RNG.integers(0, 60_000, (12, 50, 71, 2), dtype=np.uint16)
WHOLE, PART = Box(0, 0, 50, 71), Box(3, 4, 20, 60)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
def test_positions_planes_and_channels_are_what_nd2_reads(
    compressed: bool, padding: int, tmp_path: Path, write_nd2: Write
) -> None:
    loops = (("T", 2), ("P", 2), ("Z", 3))
    path = write_nd2(
        tmp_path / "a.nd2", TWO_STAINS, loops=loops, names=("DAPI", "CD45"), compressed=compressed, padding=padding
    )
    expected = nd2.imread(path)
    with nd2.ND2File(path) as document:
        assert tuple(document.sizes) == ("T", "P", "Z", "C", "Y", "X")
        voxel = document.voxel_size()
    for series, plane in np.ndindex(2, 6):
        t, z = divmod(plane, 3)
        with open_image(path, replace(FIRST_PAGE, series=series, plane=plane)) as source:
            assert (source.shape, source.dtype, source.n_planes, source.format) == ((50, 71), "uint16", 6, "ND2")
            assert (source.channels, source.z_place) == (("DAPI", "CD45"), z)
            assert (source.pixel_size_um, source.z_step_um) == pytest.approx((voxel.x, voxel.z))
            for box in (WHOLE, PART):
                read = source.read([1, 0, 1], box)
                np.testing.assert_array_equal(read, expected[t, series, z][[1, 0, 1], *box.slices])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_single_frame_of_any_dtype(dtype: str, tmp_path: Path, write_nd2: Write) -> None:
    pixels = (200 * RNG.random((1, 50, 71, 1))).astype(dtype)
    path = write_nd2(tmp_path / "a.nd2", pixels, pixel_size_um=None)
    with open_image(path, FIRST_PAGE) as source:
        assert (source.dtype, source.n_planes, source.channels) == (dtype, 1, ("DAPI",))
        assert (source.pixel_size_um, source.z_step_um) == (None, None)
        np.testing.assert_array_equal(source.read([0], WHOLE)[0], nd2.imread(path))


def test_colours_are_stored_as_blue_green_red(tmp_path: Path, write_nd2: Write) -> None:
    """NIS-Elements stores them so, as its users found; `nd2` gives them in the order of the file."""
    bgr = RNG.integers(0, 255, (1, 50, 71, 3), dtype=np.uint8)
    path = write_nd2(tmp_path / "a.nd2", bgr, names=("Brightfield",), samples_per_channel=3, padding=3)
    np.testing.assert_array_equal(nd2.imread(path), bgr[0])
    with open_image(path, FIRST_PAGE) as source:
        assert (source.channels, source.is_rgb) == (("R", "G", "B"), True)
        np.testing.assert_array_equal(source.read([0, 2], PART), np.moveaxis(bgr[0, 3:20, 4:60], -1, 0)[[2, 0]])


def test_three_stains_are_no_colours(tmp_path: Path, write_nd2: Write) -> None:
    stains = RNG.integers(0, 255, (1, 50, 71, 3), dtype=np.uint8)
    path = write_nd2(tmp_path / "a.nd2", stains, names=("DAPI", "CD45", "CD8"))
    with open_image(path, FIRST_PAGE) as source:
        assert (source.channels, source.is_rgb) == (("DAPI", "CD45", "CD8"), False)
        np.testing.assert_array_equal(source.read([0, 1, 2], PART), nd2.imread(path)[:, 3:20, 4:60])


def test_frames_without_an_experiment_are_planes(tmp_path: Path, write_nd2: Write) -> None:
    path = write_nd2(tmp_path / "a.nd2", TWO_STAINS[:3], names=("DAPI", "CD45"))
    with open_image(path, replace(FIRST_PAGE, plane=2)) as source:
        assert source.n_planes == 3
        np.testing.assert_array_equal(source.read([1], WHOLE)[0], TWO_STAINS[2, ..., 1])


def test_only_the_rows_of_a_box_are_read(tmp_path: Path, write_nd2: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_nd2(tmp_path / "a.nd2", TWO_STAINS, loops=(("Z", 12),), names=("DAPI", "CD45"))
    with open_image(path, FIRST_PAGE) as source:
        asked: list[int] = []
        read = OpenFile.read
        monkeypatch.setattr(OpenFile, "read", lambda file, at, n: (asked.append(n), read(file, at, n))[1])
        source.read([0, 1], PART)
        assert sum(asked) == PART.height * PART.width * 2 * 2
        assert source.decoded_bytes == 0


def test_a_compressed_frame_is_decoded_once_and_the_log_says_so(
    tmp_path: Path, write_nd2: Write, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(layout_notes, "LARGE_BYTES", 1000)
    path = write_nd2(tmp_path / "a.nd2", TWO_STAINS[:1], names=("DAPI", "CD45"), compressed=True)
    boxes = [Box(y, x, y + 10, x + 30) for y in range(0, 40, 5) for x in range(0, 40, 10)]
    with open_image(path, FIRST_PAGE) as source, ThreadPoolExecutor(4) as threads:
        for box, read in zip(boxes, threads.map(lambda box: source.read([1], box), boxes), strict=True):
            np.testing.assert_array_equal(read[0], TWO_STAINS[0, *box.slices, 1])
        assert source.decoded_bytes == TWO_STAINS[0].nbytes
    assert "a.nd2: all channels of a plane are compressed as one" in caplog.text
    assert "cohortseg convert" in caplog.text


def test_a_frame_that_is_not_there_is_no_plane_of_zeros(tmp_path: Path, write_nd2: Write) -> None:
    path = write_nd2(tmp_path / "a.nd2", TWO_STAINS, loops=(("Z", 12),), names=("DAPI", "CD45"), absent=(5,))
    with pytest.raises(ImageError, match=r"a\.nd2 cannot be read as ND2: it lacks frame 5 of 12"):
        open_image(path, replace(FIRST_PAGE, plane=5))


@pytest.mark.parametrize("wrong", [{"series": 2}, {"plane": 6}, {"level": 1}])
def test_what_is_not_there_is_named(wrong: Any, tmp_path: Path, write_nd2: Write) -> None:
    path = write_nd2(tmp_path / "a.nd2", TWO_STAINS, loops=(("P", 2), ("Z", 6)), names=("DAPI", "CD45"))
    with pytest.raises(ImageError, match=r"is not in a\.nd2"):
        open_image(path, replace(FIRST_PAGE, **wrong))


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_is_one_clear_error(kept: float, compressed: bool, tmp_path: Path, write_nd2: Write) -> None:
    path = write_nd2(tmp_path / "a.nd2", TWO_STAINS[:2], names=("DAPI", "CD45"), compressed=compressed)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageError, match=r"a\.nd2 cannot be read as ND2: it is truncated"):
        open_image(path, FIRST_PAGE)


def test_a_frame_that_inflates_to_more_or_less_than_it_should(tmp_path: Path, write_nd2: Write) -> None:
    frame = np.zeros((1, 50, 71, 2), np.uint16)
    path = write_nd2(tmp_path / "a.nd2", frame, names=("DAPI", "CD45"), compressed=True)
    content, stream = path.read_bytes(), zlib.compress(frame.tobytes())
    at = content.index(stream)
    for other, cause in ((zlib.compress(b"few"), "holds 3 of 14200 bytes"), (b"x" * 30, "cannot be decoded")):
        path.write_bytes(content[:at] + other.ljust(len(stream), b"\0") + content[at + len(stream) :])
        with open_image(path, FIRST_PAGE) as source, pytest.raises(ImageError, match=cause):
            source.read([0], PART)


def test_a_map_of_chunks_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, write_nd2: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nd2"
    write_nd2(path, np.zeros((1, 1, 8, 9), np.uint16))
    monkeypatch.setattr("cohortseg.stores.nd2.FREE_BYTES", 100)
    with pytest.raises(ImageError, match=r"the map of its chunks takes \d+ bytes"):
        open_image(path, FIRST_PAGE)


def test_files_of_the_first_kind_are_refused_and_not_read_as_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.nd2").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))
    with pytest.raises(ImageError, match=r"before NIS-Elements 3.*export it as OME-TIFF"):
        open_image(tmp_path / "a.nd2", FIRST_PAGE)


def test_without_the_library_the_error_names_the_extra(
    tmp_path: Path, write_nd2: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_nd2(tmp_path / "a.nd2", TWO_STAINS[:1], names=("DAPI", "CD45"))
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cohortseg\[microscopes\]'"):
        open_image(path, FIRST_PAGE)
