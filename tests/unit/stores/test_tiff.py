"""TIFF files of every layout give, box by box, what tifffile reads whole."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.stores.byte_files import OpenFile
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.tiff_pixels import SegmentedPlane

H, W = 70, 90
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 60_000, (H, W), dtype=np.uint16)
RGB = RNG.integers(0, 255, (H, W, 3), dtype=np.uint8)
STACK = RNG.integers(0, 60_000, (3, 2, 4, H, W), dtype=np.uint16)  # t, z, c, y, x

Case = tuple[Any, dict[str, Any], str]
CASES: dict[str, Case] = {
    "one strip": (GREY, {}, "YX"),
    "strips": (GREY, {"rowsperstrip": 9}, "YX"),
    "deflated strips": (GREY, {"rowsperstrip": 9, "compression": "zlib"}, "YX"),
    "one deflated strip": (GREY, {"rowsperstrip": H, "compression": "zlib"}, "YX"),
    "tiles": (GREY, {"tile": (16, 32)}, "YX"),
    "LZW tiles with predictor": (GREY, {"tile": (16, 32), "compression": "lzw", "predictor": True}, "YX"),
    "zstd tiles of big-endian BigTIFF": (
        GREY,
        {"tile": (16, 32), "compression": "zstd", "byteorder": ">", "bigtiff": True},
        "YX",
    ),
    "big-endian strip": (GREY, {"byteorder": ">"}, "YX"),
    "float tiles with predictor": (
        GREY.astype(np.float32),
        {"tile": (32, 16), "compression": "zlib", "predictor": True},
        "YX",
    ),
    "signed 64-bit": (GREY.astype(np.int64) - 30_000, {}, "YX"),
    "interleaved RGB": (RGB, {"photometric": "rgb"}, "YXS"),
    "interleaved RGB tiles": (RGB, {"photometric": "rgb", "tile": (16, 16), "compression": "zlib"}, "YXS"),
    "planar RGB": (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}, "SYX"),
    "planar RGB tiles": (
        np.moveaxis(RGB, -1, 0),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 32), "compression": "zlib"},
        "SYX",
    ),
    "stains in separate planes that the writer calls RGB": (
        STACK[0, 0],
        {"photometric": "rgb", "planarconfig": "separate"},
        "SYX",
    ),
    "JPEG tiles": (RGB, {"photometric": "rgb", "tile": (16, 32), "compression": "jpeg"}, "YXS"),
    "pages": (STACK[0, 0], {"compression": "zlib", "metadata": None, "photometric": "minisblack"}, "CYX"),
    "contiguous pages": (STACK[0, 0], {"photometric": "minisblack"}, "CYX"),
    "OME-TIFF": (STACK, {"ome": True, "metadata": {"axes": "TZCYX"}}, "TZCYX"),
    "OME-TIFF tiles, other order": (
        STACK.transpose(2, 0, 1, 3, 4),
        {"ome": True, "metadata": {"axes": "CTZYX"}, "tile": (32, 32), "compression": "zlib"},
        "CTZYX",
    ),
    "ImageJ hyperstack": (STACK, {"imagej": True, "metadata": {"axes": "TZCYX"}}, "TZCYX"),
    "volumetric tiles": (
        STACK[0].transpose(1, 0, 2, 3)[0],
        {"volumetric": True, "tile": (2, 16, 32), "compression": "zlib", "metadata": {"axes": "ZYX"}},
        "ZYX",
    ),
}


def write(path: Path, case: Case) -> Path:
    array, options, _ = case
    tifffile.imwrite(path, array, **options)
    return path


def expected(path: Path, axes: str, plane: int) -> np.ndarray:
    """(channel, y, x) of one plane by tifffile's own whole reading."""
    whole = tifffile.imread(path)
    others = [i for i, axis in enumerate(axes) if axis not in "CSYX"]
    channel = [i for i, axis in enumerate(axes) if axis in "CS"]
    ordered = whole.transpose(*others, *channel, axes.index("Y"), axes.index("X"))
    return ordered.reshape(-1, *((whole.shape[channel[0]],) if channel else (1,)), H, W)[plane]


@pytest.mark.parametrize("name", CASES)
def test_any_box_of_any_layout_equals_the_whole_read_by_tifffile(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "image.tif", CASES[name])
    axes = CASES[name][2]
    with open_image(path, FIRST_PAGE) as source:
        n_planes = source.n_planes
    for plane in {0, n_planes - 1}:
        truth = expected(path, axes, plane)
        with open_image(path, replace(FIRST_PAGE, plane=plane)) as source:
            assert source.shape == (H, W)
            assert source.dtype == truth.dtype
            assert source.dtype.isnative
            channels = list(range(len(source.channels)))
            assert len(channels) == len(truth)
            for box in (Box(0, 0, H, W), Box(15, 31, 33, 65), Box(H - 1, W - 1, H, W), Box(3, 0, 9, W)):
                read = source.read(channels[::-1], box)
                np.testing.assert_array_equal(read, truth[::-1, box.y0 : box.y1, box.x0 : box.x1])
                assert read.flags.c_contiguous
                assert read.flags.writeable


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_boxes_at_random_places_equal_the_whole(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    tile = data.draw(st.sampled_from([None, (16, 16), (16, 48), (32, 16)]))
    rows = data.draw(st.integers(1, 60))
    image = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    path = tmp_path_factory.mktemp("boxes") / "image.tif"
    layout = {"tile": tile} if tile else {"rowsperstrip": rows}
    tifffile.imwrite(path, image, compression=data.draw(st.sampled_from([None, "zlib"])), **layout)
    y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(y0, x0, data.draw(st.integers(y0 + 1, height)), data.draw(st.integers(x0 + 1, width)))
    with open_image(path, FIRST_PAGE) as source:
        np.testing.assert_array_equal(source.read([0], box)[0], image[box.slices])
    shutil.rmtree(path.parent)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 12-channel tiled, compressed OME-TIFF of 2,560 x 3,072 px."""
    path = tmp_path_factory.mktemp("large") / "large.ome.tif"
    tile = RNG.integers(0, 1000, (256, 256), dtype=np.uint16)
    image = np.tile(tile, (12, 10, 12)) + np.arange(12, dtype=np.uint16)[:, None, None]
    names: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": [f"marker {i}" for i in range(12)]}}
    tifffile.imwrite(path, image, tile=(256, 256), compression="zlib", ome=True, metadata=names)
    return path


def counting(monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """Record the index of each segment that is decoded and the number of bytes of each read."""
    decoded: list[int] = []
    sizes: list[int] = []
    load, read = SegmentedPlane._load, OpenFile.read

    def counted_load(self: SegmentedPlane, index: int) -> np.ndarray:
        decoded.append(index)
        return load(self, index)

    def counted_read(self: OpenFile, offset: int, n_bytes: int) -> bytes:
        sizes.append(n_bytes)
        return read(self, offset, n_bytes)

    monkeypatch.setattr(SegmentedPlane, "_load", counted_load)
    monkeypatch.setattr(OpenFile, "read", counted_read)
    return decoded, sizes


def test_a_box_of_a_large_compressed_image_decodes_only_the_tiles_it_touches(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, _ = counting(monkeypatch)
    with open_image(large, FIRST_PAGE) as source:
        assert decoded == []
        source.read([3], Box(512, 768, 1536, 1792))
        assert len(decoded) == 16
        source.read([3], Box(600, 800, 1500, 1700))
        assert len(decoded) == 16, "tiles read a moment ago are kept"
        source.read([3, 7], Box(500, 700, 1524, 1724))
        assert len(decoded) == 16 + (25 - 16) + 25
    assert sorted(decoded[:16]) == [12 * y + x for y in range(2, 6) for x in range(3, 7)]


def test_a_box_of_an_uncompressed_single_strip_reads_only_its_own_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", np.zeros((2000, 3000), np.uint16))
    _, sizes = counting(monkeypatch)
    with open_image(tmp_path / "raw.tif", FIRST_PAGE) as source:
        source.read([0], Box(100, 200, 164, 264))
    assert sum(sizes) == 64 * 64 * 2


def test_interleaved_samples_are_decoded_once_for_all_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "rgb.tif", CASES["interleaved RGB tiles"])
    decoded, _ = counting(monkeypatch)
    with open_image(path, FIRST_PAGE) as source:
        source.read([0, 1, 2], Box(0, 0, 16, 16))
    assert decoded == [0]


def test_many_threads_reading_one_source_get_what_one_thread_gets(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tifffile.imread(large)
    decoded, _ = counting(monkeypatch)
    boxes = [Box(y, x, y + 300, x + 300) for y in range(0, 2200, 550) for x in range(0, 2700, 450)] * 2
    start = threading.Barrier(8)
    with open_image(large, FIRST_PAGE) as source, ThreadPoolExecutor(8) as pool:

        def read(number: int) -> None:
            if number < 8:
                start.wait()
            box = boxes[number]
            np.testing.assert_array_equal(source.read([1, 5], box), whole[[1, 5], *box.slices])

        list(pool.map(read, range(len(boxes))))
    assert len(decoded) == len(set(decoded)) * 2, "no tile is decoded twice, whoever asks for it first"


def test_channels_pixel_size_and_format_come_from_ome_xml(large: Path, tmp_path: Path) -> None:
    with open_image(large, FIRST_PAGE) as source:
        assert source.channels[2] == "marker 2"
        assert source.pixel_size_um is None
        assert source.format == "OME-TIFF"
        assert not source.is_rgb
    sized = tmp_path / "sized.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 325, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 325}
    tifffile.imwrite(sized, GREY, ome=True, metadata={**metadata, "PhysicalSizeYUnit": "nm"})
    with open_image(sized, FIRST_PAGE) as source:
        assert source.pixel_size_um == pytest.approx(0.325)
    tifffile.imwrite(sized, GREY, ome=True, metadata={**metadata, "PhysicalSizeYUnit": "um"})
    with open_image(sized, FIRST_PAGE) as source:
        assert source.pixel_size_um is None, "pixels that are not square have no single size"


def test_imagej_labels_and_unit_are_read(tmp_path: Path) -> None:
    path = tmp_path / "imagej.tif"
    labels = [f"{stain} z{z}" for z in range(2) for stain in ("DAPI", "CD45", "CD3", "CD8")]
    tifffile.imwrite(
        path,
        STACK[0],
        imagej=True,
        resolution=(1 / 0.65, 1 / 0.65),
        metadata={"axes": "ZCYX", "unit": "um", "Labels": labels},
    )
    with open_image(path, replace(FIRST_PAGE, plane=1)) as source:
        assert source.channels == ("DAPI z1", "CD45 z1", "CD3 z1", "CD8 z1")
        assert source.pixel_size_um == pytest.approx(0.65)
        assert source.n_planes == 2


def test_a_resolution_in_centimetres_is_trusted_and_one_in_inches_is_not(tmp_path: Path) -> None:
    path = tmp_path / "grey.tif"
    tifffile.imwrite(path, GREY, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    with open_image(path, FIRST_PAGE) as source:
        assert source.pixel_size_um == pytest.approx(0.5)
    tifffile.imwrite(path, GREY, resolution=(72, 72), resolutionunit="INCH")
    with open_image(path, FIRST_PAGE) as source:
        assert source.pixel_size_um is None


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    """Two series; the second is a two-channel OME pyramid with one lower level."""
    path = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(GREY, metadata={"axes": "YX", "Name": "label picture"})
        metadata = {"axes": "CYX", "Name": "tissue", "Channel": {"Name": ["membrane", "nucleus"]}}
        metadata |= {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        options = {"tile": (32, 32), "compression": "zlib"}
        writer.write(STACK[0, 0, :2], subifds=1, metadata=metadata, **options)
        writer.write(STACK[0, 0, :2, ::2, ::2], subfiletype=1, **options)
    return path


def test_series_and_levels_of_a_pyramid_can_be_chosen(pyramid: Path) -> None:
    with open_image(pyramid, replace(FIRST_PAGE, series=1, level=1)) as source:
        assert source.channels == ("membrane", "nucleus")
        assert source.shape == (H // 2, W // 2)
        assert source.pixel_size_um == pytest.approx(1.0)
        np.testing.assert_array_equal(source.read([1], Box(0, 0, *source.shape))[0], STACK[0, 0, 1, ::2, ::2])


@pytest.mark.parametrize(("field", "says"), [("series", "tissue"), ("level", "0 ("), ("plane", "planes 0 to 0")])
def test_a_series_level_or_plane_that_is_not_there_is_refused_with_what_is(
    pyramid: Path, field: str, says: str
) -> None:
    with pytest.raises(ImageError) as refusal:
        open_image(pyramid, replace(FIRST_PAGE, **{field: 7}))
    assert f"{field} 7 is not in pyramid.ome.tif" in str(refusal.value)
    assert says in str(refusal.value)


def test_pages_without_names_count_as_channels_and_the_error_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "pages.tif", CASES["pages"])
    with pytest.raises(ImageError, match="pages that the file does not name count as channels"):
        open_image(path, replace(FIRST_PAGE, plane=1))


def test_an_opacity_sample_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.full((H, W), 255, np.uint8)])
    tifffile.imwrite(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    with open_image(tmp_path / "rgba.tif", FIRST_PAGE) as source:
        assert source.channels == ("R", "G", "B")
        assert source.is_rgb
        np.testing.assert_array_equal(source.read([0, 1, 2], Box(0, 0, H, W)), np.moveaxis(RGB, -1, 0))


def test_bits_are_read_as_uint8(tmp_path: Path) -> None:
    mask = GREY > 30_000
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric="minisblack")
    with open_image(tmp_path / "mask.tif", FIRST_PAGE) as source:
        assert source.dtype == np.uint8
        np.testing.assert_array_equal(source.read([0], Box(1, 2, 60, 71))[0], mask[1:60, 2:71])


def test_a_channel_last_array_without_axes_is_read_when_told_so(tmp_path: Path) -> None:
    image = np.ascontiguousarray(np.moveaxis(STACK[0, 0, :2], 0, -1))
    tifffile.imwrite(tmp_path / "last.tif", image)
    with open_image(tmp_path / "last.tif", replace(FIRST_PAGE, channel_last=True)) as source:
        assert source.shape == (H, W)
        np.testing.assert_array_equal(source.read([1, 0], Box(5, 6, 50, 70)), STACK[0, 0, [1, 0], 5:50, 6:70])


def test_a_compressed_channel_last_array_over_pages_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "last.tif", np.zeros((40, 50, 5), np.uint16), compression="zlib")
    with pytest.raises(ImageError, match="Save the image as OME-TIFF with its axes named"):
        open_image(tmp_path / "last.tif", replace(FIRST_PAGE, channel_last=True))


def test_an_imagej_stack_with_one_page_for_all_is_read(tmp_path: Path) -> None:
    path = tmp_path / "truncated.tif"
    tifffile.imwrite(path, STACK[0, 0], imagej=True, truncate=True, metadata={"axes": "CYX"})
    with open_image(path, FIRST_PAGE) as source:
        np.testing.assert_array_equal(source.read([3, 0], Box(0, 0, H, W)), STACK[0, 0, [3, 0]])


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    """An OME-TIFF whose second channel lies in a file beside it."""
    uuids = ["urn:uuid:00000000-0000-0000-0000-000000000001", "urn:uuid:00000000-0000-0000-0000-000000000002"]
    blocks = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="part{i}.ome.tif">{uuid}</UUID></TiffData>'
        for i, uuid in enumerate(uuids)
    )
    for i, uuid in enumerate(uuids):
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}"><Image ID="Image:0">'
            f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="{W}" SizeY="{H}" SizeC="2" SizeZ="1" '
            f'SizeT="1"><Channel ID="Channel:0:0" Name="first"/><Channel ID="Channel:0:1" Name="second"/>{blocks}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(
            tmp_path / f"part{i}.ome.tif", STACK[0, 0, i], description=xml, metadata=None, compression="zlib"
        )
    return tmp_path / "part0.ome.tif"


def test_an_image_in_several_files_is_read_from_all_of_them(two_files: Path) -> None:
    with open_image(two_files, FIRST_PAGE) as source:
        assert source.channels == ("first", "second")
        np.testing.assert_array_equal(source.read([0, 1], Box(0, 0, H, W)), STACK[0, 0, :2])


def test_a_missing_file_of_several_is_an_error_and_not_a_black_channel(two_files: Path) -> None:
    (two_files.parent / "part1.ome.tif").unlink()
    with pytest.raises(ImageError, match="Copy all files of the image"):
        open_image(two_files, FIRST_PAGE)


def test_a_sparse_tile_is_read_as_background(tmp_path: Path) -> None:
    tiles = (tile for tile in [np.full((16, 16), 7, np.uint8), None, None, np.full((16, 16), 9, np.uint8)])
    tifffile.imwrite(tmp_path / "sparse.tif", tiles, shape=(32, 32), dtype="u1", tile=(16, 16), compression="zlib")
    with open_image(tmp_path / "sparse.tif", FIRST_PAGE) as source:
        pixels = source.read([0], Box(8, 8, 24, 24))[0]
    np.testing.assert_array_equal(np.unique(pixels[:8, :8]), [7])
    np.testing.assert_array_equal(np.unique(pixels[:8, 8:]), [0])
    np.testing.assert_array_equal(np.unique(pixels[8:, 8:]), [9])


def read_all(path: Path) -> np.ndarray:
    with open_image(path, FIRST_PAGE) as source:
        return source.read(range(len(source.channels)), Box(0, 0, *source.shape))


@pytest.mark.parametrize("kept", [0.001, 0.02, 0.3, 0.6, 0.9, 0.99, "all but 20 bytes"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "ImageJ hyperstack"])
def test_a_truncated_file_is_an_error_that_names_it(name: str, kept: float | str, tmp_path: Path) -> None:
    content = write(tmp_path / "whole.tif", CASES[name]).read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(content[: -20 if isinstance(kept, str) else max(5, int(len(content) * kept))])
    with pytest.raises(ImageError, match=r"cut\.tif"):
        read_all(cut)


@pytest.mark.parametrize("kept", [0.001, 0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_imagej_stack_gives_an_error_or_the_right_pixels(kept: float, tmp_path: Path) -> None:
    # its pixels come first: cut within the list of pages at its end, they are all still there
    whole = write(tmp_path / "whole.tif", CASES["ImageJ hyperstack"])
    content = whole.read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(content[: int(len(content) * kept)])
    if kept < 0.95:
        with pytest.raises(ImageError, match=r"cut\.tif"):
            read_all(cut)
    else:
        np.testing.assert_array_equal(read_all(cut), read_all(whole))


def _damaged(path: Path, change: Callable[[bytearray, tifffile.TiffPage], None]) -> Path:
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
    content = bytearray(path.read_bytes())
    change(content, page)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["deflated strips", "zstd tiles of big-endian BigTIFF", "interleaved RGB tiles"])
def test_damaged_data_fails_the_read_that_touches_it_and_no_other(name: str, tmp_path: Path) -> None:
    def overwrite(content: bytearray, page: tifffile.TiffPage) -> None:
        start, count = page.dataoffsets[0], page.databytecounts[0]
        content[start : start + count] = b"\x5a" * count

    path = _damaged(write(tmp_path / "slide7.tif", CASES[name]), overwrite)
    with open_image(path, FIRST_PAGE) as source:
        with pytest.raises(ImageError, match=r"segment 0 of slide7\.tif cannot be decoded"):
            source.read([0], Box(0, 0, 5, 5))
        assert source.read([0], Box(60, 60, 70, 80)).shape == (1, 10, 20)


def test_a_shape_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    def claim(content: bytearray, page: tifffile.TiffPage) -> None:
        offset = page.tags["ImageLength"].valueoffset
        content[offset : offset + 4] = (2**31).to_bytes(4, "little")

    for name in ("one strip", "deflated strips", "tiles", "LZW tiles with predictor"):
        path = _damaged(write(tmp_path / "huge.tif", CASES[name]), claim)
        with pytest.raises(ImageError, match=r"huge\.tif"):
            open_image(path, FIRST_PAGE)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "complex.tif", GREY.astype(np.complex64))
    with pytest.raises(ImageError, match="complex64"):
        open_image(tmp_path / "complex.tif", FIRST_PAGE)


def test_an_unknown_compression_is_refused_when_it_is_read(tmp_path: Path) -> None:
    def claim(content: bytearray, page: tifffile.TiffPage) -> None:
        offset = page.tags["Compression"].valueoffset
        content[offset : offset + 2] = (64_999).to_bytes(2, "little")

    path = _damaged(write(tmp_path / "odd.tif", CASES["deflated strips"]), claim)
    with pytest.raises(ImageError, match=r"odd\.tif"), open_image(path, FIRST_PAGE) as source:
        source.read([0], Box(0, 0, 5, 5))
