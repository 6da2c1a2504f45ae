"""LIF files of our own making: the library `liffile` reads them as well, and says the same."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import liffile
import numpy as np
import pytest

from cohortseg.arrays import Box
from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores.byte_files import OpenFile
from cohortseg.stores.images import FIRST_PAGE, open_image

Write = Callable[..., Path]
RNG = np.random.default_rng(0)
SIZES = {"T": 2, "Z": 3, "C": 2, "Y": 50, "X": 71}
WHOLE, PART = Box(0, 0, 50, 71), Box(3, 4, 20, 60)


def made(axes: str, dtype: str = "uint16") -> Any:
    return (200 * RNG.random([SIZES[axis] for axis in axes])).astype(dtype)


@pytest.mark.parametrize("axes", ["".join(outer) + "YX" for n in range(4) for outer in permutations("TZC", n)])
def test_planes_and_channels_of_any_order_are_what_liffile_reads(axes: str, tmp_path: Path, write_lif: Write) -> None:
    image = {"name": "field", "axes": axes, "pixels": made(axes), "names": ("Blue", "Green"), "z_length_um": -4.0}
    path = write_lif(tmp_path / "a.lif", image)
    expected = liffile.imread(path)
    outer = [axis for axis in axes[:-2] if axis != "C"]
    for plane, index in enumerate(np.ndindex(*(SIZES[axis] for axis in outer))):
        place = dict(zip(outer, index, strict=True))
        channels = np.stack([expected[tuple((place | {"C": c}).get(a, slice(None)) for a in axes)] for c in (0, 1)])
        with open_image(path, replace(FIRST_PAGE, plane=plane)) as source:
            assert (source.shape, source.dtype, source.format) == ((50, 71), "uint16", "LIF")
            assert source.channels == (("Blue", "Green") if "C" in axes else ("Blue",))
            assert source.n_planes == np.prod([SIZES[axis] for axis in outer])
            assert (source.pixel_size_um, source.z_place) == (pytest.approx(0.25), place.get("Z", 0))
            assert source.z_step_um == (pytest.approx(2.0) if "Z" in axes else None)
            wanted = [1, 0, 1] if "C" in axes else [0]
            for box in (WHOLE, PART):
                np.testing.assert_array_equal(source.read(wanted, box), channels[(wanted, *box.slices)])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float16", "float32", "float64"])
def test_any_dtype(dtype: str, tmp_path: Path, write_lif: Write) -> None:
    path = write_lif(tmp_path / "a.lif", {"name": "a", "axes": "CYX", "pixels": made("CYX", dtype)})
    with open_image(path, FIRST_PAGE) as source:
        assert source.dtype == dtype
        np.testing.assert_array_equal(source.read([0, 1], WHOLE), liffile.imread(path))


@pytest.mark.parametrize("tags", [(1, 2, 3), (3, 2, 1)])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_colours_by_their_tags_in_padded_rows(
    tags: tuple[int, ...], padding: int, tmp_path: Path, write_lif: Write
) -> None:
    pixels = RNG.integers(0, 255, (50, 71, 3), dtype=np.uint8)
    path = write_lif(
        tmp_path / "a.lif", {"name": "a", "axes": "YXS", "pixels": pixels, "tags": tags, "padding": padding}
    )
    rgb = pixels if tags == (1, 2, 3) else pixels[..., ::-1]
    if not padding:  # liffile 2026.2.16 refuses rows that are padded
        np.testing.assert_array_equal(liffile.imread(path), rgb)
    with open_image(path, FIRST_PAGE) as source:
        assert (source.channels, source.is_rgb) == (("R", "G", "B"), True)
        for box in (WHOLE, PART):
            np.testing.assert_array_equal(source.read([0, 1, 2], box), np.moveaxis(rgb[box.slices], -1, 0))


def test_images_are_series_also_of_the_same_name_and_dyes_name_channels(tmp_path: Path, write_lif: Write) -> None:
    first, second = made("CYX"), made("ZYX", "uint8")
    path = write_lif(
        tmp_path / "a.lif",
        {"name": "field", "axes": "CYX", "pixels": first, "names": ("Gray", "Gray"), "dyes": ("DAPI", "Alexa 488")},
        {"name": "field", "axes": "ZYX", "pixels": second, "z_length_um": 6.0},
    )
    with open_image(path, FIRST_PAGE) as source:
        assert source.channels == ("DAPI", "Alexa 488")
        np.testing.assert_array_equal(source.read([1], PART)[0], first[1, 3:20, 4:60])
    with open_image(path, replace(FIRST_PAGE, series=1, plane=2)) as source:
        assert (source.channels, source.z_step_um) == (("Gray",), pytest.approx(3.0))
        np.testing.assert_array_equal(source.read([0], PART)[0], second[2, 3:20, 4:60])
    for wrong in ({"series": 2}, {"series": 1, "plane": 3}, {"level": 1}):
        with pytest.raises(ImageError, match=r"is not in a\.lif"):
            open_image(path, replace(FIRST_PAGE, **wrong))


def test_a_lof_file_holds_one_image(tmp_path: Path, write_lof: Write) -> None:
    path = write_lof(tmp_path / "a.lof", name="a", axes="ZCYX", pixels=made("ZCYX"), names=("Blue", "Green"))
    with open_image(path, replace(FIRST_PAGE, plane=2)) as source:
        assert source.channels == ("Blue", "Green")
        np.testing.assert_array_equal(source.read([1, 0], PART), liffile.imread(path)[2, [1, 0], 3:20, 4:60])


def test_positions_of_a_mosaic_are_planes(tmp_path: Path, write_lif: Write) -> None:
    pixels = RNG.integers(0, 255, (4, 50, 71), dtype=np.uint8)
    path = write_lif(tmp_path / "a.lif", {"name": "a", "axes": "PYX", "pixels": pixels})
    with open_image(path, replace(FIRST_PAGE, plane=3)) as source:
        assert source.n_planes == 4
        np.testing.assert_array_equal(source.read([0], WHOLE)[0], liffile.imread(path)[3])


@pytest.mark.parametrize("axes", ["ZCYX", "YZCX"])
def test_only_the_bytes_of_a_box_are_read(
    axes: str, tmp_path: Path, write_lif: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the rows of other planes lie between those of one, as in scans along z."""
    path = write_lif(tmp_path / "a.lif", {"name": "a", "axes": axes, "pixels": made(axes)})
    with open_image(path, FIRST_PAGE) as source:
        asked: list[int] = []
        read = OpenFile.read
        monkeypatch.setattr(OpenFile, "read", lambda file, at, n: (asked.append(n), read(file, at, n))[1])
        for box in (WHOLE, PART):
            asked.clear()
            source.read([1], box)
            assert sum(asked) == box.height * box.width * 2


@pytest.mark.parametrize("kept", [10, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_one_clear_error(kept: float, tmp_path: Path, write_lif: Write) -> None:
    images = [{"name": name, "axes": "ZYX", "pixels": made("ZYX")} for name in ("first", "second")]
    path = write_lif(tmp_path / "a.lif", *images)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(ImageError, match=r"a\.lif"):
        open_image(path, replace(FIRST_PAGE, series=1, plane=2))
    if kept == 0.9:
        with open_image(path, FIRST_PAGE) as source:
            np.testing.assert_array_equal(source.read([0], WHOLE)[0], images[0]["pixels"][0])


def change(path: Path, pattern: str, replacement: str) -> None:
    """Change a number in the XML, keeping its length."""
    text = path.read_bytes().decode("latin-1")
    found = re.search("".join(f"{re.escape(each)}\0" for each in pattern), text)
    assert found
    assert len(replacement) == len(pattern)
    inserted = "".join(f"{each}\0" for each in replacement)
    path.write_bytes((text[: found.start()] + inserted + text[found.end() :]).encode("latin-1"))


@pytest.mark.parametrize(
    ("pattern", "lie"),
    [
        ('NumberOfElements="71"', 'NumberOfElements="99"'),
        ('NumberOfElements="50"', 'NumberOfElements="99"'),
        ('BytesInc="142"', 'BytesInc="002"'),
        ('BytesInc="142"', 'BytesInc="-42"'),
        ('BytesInc="2"', 'BytesInc="0"'),
        ('BytesInc="7100"', 'BytesInc="9999"'),
        ('Resolution="16"', 'Resolution="64"'),
        ('MemoryBlockID="MemBlock_0"', 'MemoryBlockID="MemBlock_7"'),
    ],
)
def test_xml_that_lies_is_one_clear_error(pattern: str, lie: str, tmp_path: Path, write_lif: Write) -> None:
    path = write_lif(tmp_path / "a.lif", {"name": "a", "axes": "CYX", "pixels": made("CYX")})
    change(path, pattern, lie)
    with pytest.raises(ImageError, match=r"a\.lif"):
        open_image(path, FIRST_PAGE)


def test_without_the_library_the_error_names_the_extra(
    tmp_path: Path, write_lif: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lif(tmp_path / "a.lif", {"name": "a", "axes": "YX", "pixels": made("YX")})
    monkeypatch.setitem(sys.modules, "liffile", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cohortseg\[microscopes\]'"):
        open_image(path, FIRST_PAGE)
