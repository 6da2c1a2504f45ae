"""Chunks that we decode ourselves are what zarr gives."""

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr import codecs

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.zarr_chunks import chunk_reader

V2 = [None, numcodecs.Blosc(), numcodecs.Blosc("zstd", shuffle=2), numcodecs.Zstd(), numcodecs.GZip(), numcodecs.Zlib()]
V3 = [
    (),
    codecs.BloscCodec(),
    codecs.ZstdCodec(),
    codecs.GzipCodec(),
    codecs.BloscCodec(cname="lz4", shuffle="noshuffle"),
]
DTYPES = ["u1", "i1", "<u2", ">u2", "<i4", ">f4", "f8", "?", "<u8"]


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Options of zarr.create_array for some (c, y, x) array."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 50), st.integers(1, 50)))
    chunks = draw(st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30)))
    made: dict[str, Any] = {"shape": shape, "chunks": chunks, "fill_value": draw(st.sampled_from([0, 1]))}
    made["dtype"] = draw(st.sampled_from(DTYPES))
    if draw(st.booleans()):
        return made | {"zarr_format": 2, "compressors": draw(st.sampled_from(V2)), "order": draw(st.sampled_from("CF"))}
    endian = draw(st.sampled_from(["little", "big"]))
    made["dtype"] = made["dtype"].strip("<>")
    if draw(st.booleans()):
        made["shards"] = tuple(n * draw(st.integers(1, 3)) for n in chunks)
    return made | {"compressors": draw(st.sampled_from(V3)), "serializer": codecs.BytesCodec(endian=endian)}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_box_of_any_layout_is_what_zarr_gives(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("zarr") / "a.zarr"
    given_options = data.draw(options())
    array = zarr.create_array(path, **given_options)
    depth, height, width = given_options["shape"]
    pixels = np.random.default_rng(0).integers(0, 100, array.shape).astype(array.dtype)
    filled = data.draw(st.integers(0, height))  # chunks below may be absent
    array[:, :filled] = pixels[:, :filled]
    y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(y0, x0, data.draw(st.integers(y0 + 1, height)), data.draw(st.integers(x0 + 1, width)))
    channels = data.draw(st.lists(st.integers(0, depth - 1), min_size=1, max_size=5))
    assert chunk_reader(zarr.open_array(path, mode="r"), lambda *_: b"") is not None
    with open_image(path, FIRST_PAGE) as source:
        read = source.read(channels, box)
        assert read.dtype.isnative
        assert read.flags.writeable
        np.testing.assert_array_equal(read, array[:][channels, box.y0 : box.y1, box.x0 : box.x1])


LEFT_TO_ZARR: dict[str, dict[str, Any]] = {
    "LZ4 of v2": {"zarr_format": 2, "compressors": numcodecs.LZ4()},
    "a filter of v2": {"zarr_format": 2, "filters": [numcodecs.Delta("u2")]},
    "transposed chunks": {"filters": codecs.TransposeCodec(order=(0, 2, 1))},
    "checksums": {"compressors": [codecs.ZstdCodec(), codecs.Crc32cCodec()]},
}


@pytest.mark.parametrize("name", LEFT_TO_ZARR)
def test_other_codecs_are_left_to_zarr(name: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60_000, (3, 60, 70), dtype=np.uint16)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=pixels.shape, chunks=(2, 32, 32), dtype="u2", **LEFT_TO_ZARR[name]
    )
    array[...] = pixels
    assert chunk_reader(array, lambda *_: b"") is None
    with open_image(tmp_path / "a.zarr", FIRST_PAGE) as source:
        np.testing.assert_array_equal(source.read([2, 0, 2], Box(3, 4, 60, 65)), pixels[[2, 0, 2], 3:60, 4:65])


@pytest.mark.parametrize("damage", ["index", "offset", "chunk", "short"])
def test_a_damaged_shard_is_an_error_and_never_wrong_pixels(damage: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60_000, (64, 64), dtype=np.uint16)
    zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=(32, 32), shards=(64, 64))
    shard = tmp_path / "a.zarr" / "c" / "0" / "0"
    content = bytearray(shard.read_bytes())
    if damage == "short":
        content = content[: len(content) // 2]
    else:
        where = {"index": -10, "offset": -4 - 64, "chunk": 0}[damage]
        content[where] ^= 0xFF
    shard.write_bytes(content)
    with (
        open_image(tmp_path / "a.zarr", FIRST_PAGE) as source,
        pytest.raises(ImageError, match=r"a\.zarr cannot be read"),
    ):
        source.read([0], Box(0, 0, 64, 64))
