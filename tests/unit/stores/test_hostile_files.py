"""Damaged and lying files: a clear error or pixels, never a crash, a hang or memory without bound.

Each batch of files is read in a process of its own with 2 GB of address space beyond what its libraries take, and a
limit of time: whatever breaks those ends the process, which the test sees.
"""

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import zarr

import cohortseg

READER = r"""
import json, resource, sys, warnings
from dataclasses import replace
from pathlib import Path
from cohortseg.arrays import Box
from cohortseg.errors import CohortsegError
from cohortseg.stores.images import FIRST_PAGE, open_image

def used_bytes():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

paths = sys.stdin.read().splitlines()
outcomes = {}
with open_image(Path(paths[0]), FIRST_PAGE) as source:  # the libraries' own threads and buffers
    source.read([0], Box(0, 0, 1, 1))
limit = used_bytes() + 2 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in paths:
    try:
        with open_image(Path(path), FIRST_PAGE) as source:
            height, width = source.shape
            for box in (Box(0, 0, min(height, 64), min(width, 64)), Box(height - 1, width - 1, height, width)):
                source.read(range(min(4, len(source.channels))), box)
        outcomes[path] = "pixels"
    except CohortsegError as error:
        outcomes[path] = str(error) if Path(path).name in str(error) else f"NOT NAMED: {error}"
    except BaseException as error:
        outcomes[path] = f"ESCAPED: {type(error).__name__} {error}"
print(json.dumps(outcomes))
"""


def read_apart(paths: list[Path]) -> dict[Path, str]:
    """Return what became of each file: `pixels`, or the message of an error of our family."""
    done = subprocess.run(
        [sys.executable, "-c", READER],
        env=os.environ | {"PYTHONPATH": str(Path(cohortseg.__file__).parents[1])},
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"rc {done.returncode}: {done.stderr[-2000:]}"
    outcomes = {Path(path): outcome for path, outcome in json.loads(done.stdout).items()}
    wrong = {path.name: text for path, text in outcomes.items() if text.startswith(("ESCAPED", "NOT NAMED"))}
    assert not wrong
    return outcomes


RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 60_000, (70, 90), dtype=np.uint16)
RGB = RNG.integers(0, 255, (70, 90, 3), dtype=np.uint8)


def write_tiff(path: Path, **options: Any) -> Path:
    tifffile.imwrite(path, RGB if options.get("photometric") == "rgb" else GREY, **options)
    return path


def write_png(path: Path, suffix: str) -> Path:
    path.write_bytes(cv2.imencode(suffix, RGB)[1].tobytes())
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "strips.tif": lambda path: write_tiff(path, rowsperstrip=9, compression="zlib"),
    "tiles.tif": lambda path: write_tiff(path, tile=(16, 32), compression="lzw", predictor=True),
    "zstd.tif": lambda path: write_tiff(path, tile=(32, 32), compression="zstd", bigtiff=True),
    "plain.tif": lambda path: write_tiff(path, ome=True, metadata={"axes": "YX"}),
    "jpeg.tif": lambda path: write_tiff(path, tile=(32, 32), compression="jpeg", photometric="rgb"),
    "imagej.tif": lambda path: write_tiff(path, imagej=True),
    "colour.png": lambda path: write_png(path, ".png"),
    "colour.jpg": lambda path: write_png(path, ".jpg"),
    "colour.bmp": lambda path: write_png(path, ".bmp"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_that_change_or_go_missing(name: str, tmp_path: Path) -> None:
    whole = WRITERS[name](tmp_path / name)
    content, stem, suffix = whole.read_bytes(), whole.stem, whole.suffix
    rng, paths = np.random.default_rng(len(content)), [whole]
    headers = min(len(content), 600)
    for i in range(120):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            # half of them near either end, where headers and tags are
            where = rng.integers(0, headers) if i % 2 else len(content) - 1 - rng.integers(0, headers)
            changed[where] = rng.choice([0, 1, 0x7F, 0xFF, rng.integers(0, 256)])
        if i % 8 == 0:
            changed = changed[: rng.integers(0, len(changed))]
        path = tmp_path / f"{stem}-{i}{suffix}"
        path.write_bytes(changed)
        paths.append(path)
    outcomes = read_apart(paths)
    assert outcomes[whole] == "pixels"
    assert sum(outcome != "pixels" for outcome in outcomes.values()) > 10


@pytest.mark.parametrize("name", ["plain.nd2", "deflated.nd2", "one.lif"])
def test_microscopes_bytes_that_change_or_go_missing(
    name: str, tmp_path: Path, write_nd2: Callable[..., Path], write_lif: Callable[..., Path]
) -> None:
    if name == "one.lif":
        whole = write_lif(
            tmp_path / name, {"name": "a", "axes": "ZCYX", "pixels": np.stack([GREY] * 4).reshape(2, 2, 70, 90)}
        )
    else:
        frames, options = np.stack([RGB] * 2), {"samples_per_channel": 3, "compressed": name == "deflated.nd2"}
        whole = write_nd2(tmp_path / name, frames, loops=(("Z", 2),), **options)
    content, rng, paths = whole.read_bytes(), np.random.default_rng(0), [whole]
    # what says where pixels are: all that is no run of zeros, nor pixels
    pixels = (GREY if name == "one.lif" else RGB).tobytes()
    spoken = np.frombuffer(content.replace(pixels, bytes(len(pixels))), np.uint8).nonzero()[0]
    for i in range(150):
        changed = bytearray(content)
        for where in rng.choice(spoken, rng.integers(1, 4)):
            changed[where] = rng.choice([0, 1, 0x7F, 0xFF, 0x39, rng.integers(0, 256)])
        if i % 8 == 0:
            changed = changed[: rng.integers(0, len(changed))]
        paths.append(tmp_path / f"{whole.stem}-{i}{whole.suffix}")
        paths[-1].write_bytes(changed)
    outcomes = read_apart(paths)
    assert outcomes[whole] == "pixels"
    assert sum(outcome != "pixels" for outcome in outcomes.values()) > 10


def test_a_compressed_bomb_in_nd2(tmp_path: Path, write_nd2: Callable[..., Path]) -> None:
    bomb, text = _bomb(2**32), zlib.compress(b"\x08\x02t\0\0\0T\0\0\0")
    frames = np.zeros((1, 64, 64, 1), np.uint8)
    whole = write_nd2(tmp_path / "whole.nd2", frames, compressed=True, text_info=b"L".ljust(12, b"\0") + text)
    said = write_nd2(tmp_path / "said.nd2", frames, compressed=True, text_info=b"L".ljust(12, b"\0") + bomb)
    shown = write_nd2(tmp_path / "shown.nd2", frames, compressed=True, stream=bomb)
    outcomes = read_apart([whole, said, shown])
    assert outcomes[whole] == "pixels"
    assert outcomes[shown] == "pixels", "what a frame has beyond its pixels is not decoded"
    assert "its metadata ImageTextInfoLV! exceed" in outcomes[said]


@pytest.mark.parametrize("compressed", [False, True])
def test_nd2_that_lies_about_sizes(compressed: bool, tmp_path: Path, write_nd2: Callable[..., Path]) -> None:
    whole = write_nd2(tmp_path / "whole.nd2", RGB[np.newaxis], samples_per_channel=3, compressed=compressed)
    content, paths = whole.read_bytes(), [whole]
    for key in ("uiWidth", "uiWidthBytes", "uiHeight", "uiComp", "uiBpcInMemory"):
        mark = f"{key}\0".encode("utf-16-le")
        for value in (0, 2**20, 2**31, 2**32 - 1):
            changed = bytearray(content)
            struct.pack_into("<I", changed, content.index(mark) + len(mark), value)
            paths.append(tmp_path / f"{key}-{value}.nd2")
            paths[-1].write_bytes(changed)
    outcomes = read_apart(paths)
    assert outcomes[whole] == "pixels"
    assert [path.name for path in paths[1:] if outcomes[path] == "pixels"] == []


def set_tag(content: bytes, code: int, value: int) -> bytes:
    """Set the value of a tag of one LONG or SHORT in the first directory of a little-endian TIFF file."""
    changed = bytearray(content)
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry)[0] == code:
            struct.pack_into("<HII", changed, entry + 2, 4, 1, value)
            return bytes(changed)
    raise AssertionError(f"no tag {code}")


WIDTH, HEIGHT, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH, SAMPLES, STRIP_BYTES = 256, 257, 278, 322, 323, 277, 279


def test_headers_that_lie_about_sizes(tmp_path: Path) -> None:
    strip = WRITERS["strips.tif"](tmp_path / "strips.tif").read_bytes()
    one = write_tiff(tmp_path / "one.tif", rowsperstrip=70, compression="zlib").read_bytes()
    tiles = WRITERS["tiles.tif"](tmp_path / "tiles.tif").read_bytes()
    huge = 2**31 - 16
    lies = {
        "width.tif": set_tag(strip, WIDTH, huge),
        "height.tif": set_tag(strip, HEIGHT, huge),
        "both.tif": set_tag(set_tag(one, HEIGHT, 10**6), WIDTH, 10**6),
        "both in one strip.tif": set_tag(set_tag(set_tag(one, HEIGHT, 10**6), WIDTH, 10**6), ROWS_PER_STRIP, 10**6),
        "strip of no rows.tif": set_tag(strip, ROWS_PER_STRIP, 0),
        "huge strip.tif": set_tag(strip, ROWS_PER_STRIP, huge),
        "strip beyond the file.tif": set_tag(one, STRIP_BYTES, huge),
        "huge tile.tif": set_tag(set_tag(tiles, TILE_WIDTH, 2**20), TILE_LENGTH, 2**20),
        "tile of no width.tif": set_tag(tiles, TILE_WIDTH, 0),
        "samples.tif": set_tag(strip, SAMPLES, 60_000),
    }
    paths = [tmp_path / "strips.tif"]
    for name, content in lies.items():
        (tmp_path / name).write_bytes(content)
        paths.append(tmp_path / name)
    outcomes = read_apart(paths)
    assert [path.name for path in paths[1:] if outcomes[path] == "pixels"] == []


def test_a_compressed_bomb_in_a_tile_is_one_clear_error(tmp_path: Path) -> None:
    write_tiff(tmp_path / "whole.tif", rowsperstrip=70, compression="zlib")
    bomb = _bomb(2**32)
    content = (tmp_path / "whole.tif").read_bytes()
    offset = len(content)
    lying = set_tag(set_tag(content, 273, offset), STRIP_BYTES, len(bomb))
    (tmp_path / "bomb.tif").write_bytes(lying + bomb)
    outcomes = read_apart([tmp_path / "whole.tif", tmp_path / "bomb.tif"])
    assert "bomb.tif cannot be decoded" in outcomes[tmp_path / "bomb.tif"]


def _bomb(n_bytes: int, window: int = zlib.MAX_WBITS) -> bytes:
    """Return a deflate stream of so many zeros, with the head of zlib or, for windows above 16, of gzip."""
    packer, zeros = zlib.compressobj(9, zlib.DEFLATED, window), bytes(2**24)
    first = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)  # leans on nothing before, so it may repeat
    return first + again * (n_bytes // len(zeros) - 1) + packer.flush()


@pytest.mark.parametrize(("zarr_format", "sharded"), [(2, False), (3, False), (3, True)])
def test_zarr_bytes_that_change_or_go_missing(zarr_format: Any, sharded: bool, tmp_path: Path) -> None:
    rng, paths = np.random.default_rng(zarr_format), []
    for i in range(60):
        path = tmp_path / f"a{i}.zarr"
        shards = (64, 96) if sharded else None
        array = zarr.create_array(
            path, shape=GREY.shape, chunks=(32, 32), shards=shards, dtype="u2", zarr_format=zarr_format
        )
        array[...] = GREY
        paths.append(path)
        if i == 0:
            continue
        files = sorted(each for each in path.rglob("*") if each.is_file())
        metadata = [each for each in files if each.name in ("zarr.json", ".zarray")]
        victim = metadata[0] if i % 2 else files[rng.integers(0, len(files))]
        content = bytearray(victim.read_bytes())
        content[rng.integers(0, len(content))] = rng.choice([0, 0x30, 0x39, 0xFF])
        victim.write_bytes(content[: rng.integers(0, len(content))] if i % 5 == 0 else content)
    outcomes = read_apart(paths)
    assert outcomes[paths[0]] == "pixels"


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("lie", ["chunks of 10^6 px", "chunks of 30,000 px", "huge shape", "bomb"])
def test_zarr_that_lies_about_sizes(zarr_format: Any, lie: str, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.zarr", tmp_path / "lying.zarr"
    for each in (whole, path):
        compressor: Any = {"name": "gzip", "configuration": {"level": 9}} if zarr_format == 3 else zarr_gzip()
        array = zarr.create_array(
            each, shape=GREY.shape, chunks=GREY.shape, dtype="u2", zarr_format=zarr_format, compressors=compressor
        )
        array[...] = GREY
    metadata = path / ("zarr.json" if zarr_format == 3 else ".zarray")
    facts = json.loads(metadata.read_text())
    side = 10**6 if lie == "chunks of 10^6 px" else 30_000
    if lie == "bomb":
        chunk = next(each for each in path.rglob("*") if each.is_file() and not each.name.startswith(("zarr", ".z")))
        chunk.write_bytes(_bomb(2**32, 16 + zlib.MAX_WBITS))
    elif lie == "huge shape":
        facts["shape"] = [2**40, 2**40]
    elif zarr_format == 3:
        facts["chunk_grid"]["configuration"]["chunk_shape"] = [side, side]
    else:
        facts["chunks"] = [side, side]
    metadata.write_text(json.dumps(facts))
    outcome = read_apart([whole, path])[path]
    assert outcome == "pixels" if lie == "huge shape" else "lying.zarr" in outcome


def zarr_gzip() -> Any:
    import numcodecs

    return numcodecs.GZip(9)


def test_pictures_that_lie_about_sizes(tmp_path: Path) -> None:
    png = bytearray(write_png(tmp_path / "a.png", ".png").read_bytes())
    jpg = bytearray(write_png(tmp_path / "a.jpg", ".jpg").read_bytes())
    paths = [tmp_path / "a.png"]
    for side in (30_000, 2**20, 2**31 - 1):
        png[16:24] = struct.pack(">II", side, side)
        png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))  # so that the checksum does not give it away
        paths.append(tmp_path / f"{side}.png")
        paths[-1].write_bytes(png)
    frame = jpg.index(b"\xff\xc0")
    jpg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    paths.append(tmp_path / "large.jpg")
    paths[-1].write_bytes(jpg)
    outcomes = read_apart(paths)
    assert [path.name for path in paths[1:] if outcomes[path] == "pixels"] == []
