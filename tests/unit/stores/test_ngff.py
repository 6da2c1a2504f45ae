import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.stores.images import FIRST_PAGE, open_image

IMAGE = np.random.default_rng(0).integers(0, 60_000, (2, 3, 70, 90), dtype=np.uint16)  # z, c, y, x


def ome_zarr(path: Path, version: str) -> Path:
    """Write IMAGE as a two-level OME-Zarr of axes (z, c, y, x)."""
    group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
    group.create_array("0", data=IMAGE, chunks=(1, 1, 32, 32))
    group.create_array("half", data=np.ascontiguousarray(IMAGE[..., ::2, ::2]), chunks=(1, 1, 32, 32))
    axes: list[Any] = [
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "nanometer"},
        {"name": "x", "type": "space", "unit": "nanometer"},
    ]
    datasets = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": [1, 1, size, size]}]}
        for name, size in (("0", 250.0), ("half", 500.0))
    ]
    image = {"axes": axes, "datasets": datasets, "name": "tissue"}
    channels = [{"label": name} for name in ("DAPI", "CD45", "CD3")]
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image], "omero": {"channels": channels}}
    else:
        group.attrs.update({"multiscales": [image | {"version": version}], "omero": {"channels": channels}})
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_names_scale_and_pixels_of_ome_zarr_are_read(version: str, tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "a.zarr", version)
    with open_image(path, replace(FIRST_PAGE, plane=1)) as source:
        assert source.channels == ("DAPI", "CD45", "CD3")
        assert source.format == f"OME-Zarr {version}"
        assert (source.shape, source.n_planes) == ((70, 90), 2)
        assert source.pixel_size_um == pytest.approx(0.25)
        read = source.read([2, 0, 2], Box(5, 30, 66, 90))
        np.testing.assert_array_equal(read, IMAGE[1, [2, 0, 2], 5:66, 30:90])
        assert read.flags.c_contiguous
    with open_image(path, replace(FIRST_PAGE, level=1)) as source:
        assert source.pixel_size_um == pytest.approx(0.5)
        np.testing.assert_array_equal(source.read([1], Box(0, 0, 35, 45))[0], IMAGE[0, 1, ::2, ::2])


def test_an_image_written_by_bioformats2raw_is_chosen_by_series(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    ome_zarr(tmp_path / "a.zarr" / "0", "0.4")
    with open_image(tmp_path / "a.zarr", FIRST_PAGE) as source:
        assert source.channels == ("DAPI", "CD45", "CD3")
    with pytest.raises(ImageError, match=r"series 1 is not in a\.zarr"):
        open_image(tmp_path / "a.zarr", replace(FIRST_PAGE, series=1))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("shape", "channel_last", "n_channels", "n_planes"),
    [((40, 50), False, 1, 1), ((3, 40, 50), False, 3, 1), ((40, 50, 3), True, 3, 1), ((2, 3, 4, 40, 50), False, 3, 8)],
)
def test_arrays_without_metadata_end_in_y_x(
    zarr_format: Any, shape: tuple[int, ...], channel_last: bool, n_channels: int, n_planes: int, tmp_path: Path
) -> None:
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(16,) * len(shape), zarr_format=zarr_format)
    with open_image(tmp_path / "a.zarr", replace(FIRST_PAGE, channel_last=channel_last)) as source:
        assert (source.shape, len(source.channels), source.n_planes) == ((40, 50), n_channels, n_planes)
        assert not source.is_rgb
        last = source.read([n_channels - 1], Box(1, 2, 30, 45))[0]
    truth = data[..., -1] if channel_last else data.reshape(-1, *shape[-3:])[0]
    truth = data[0, 2, 0] if len(shape) == 5 else truth if channel_last else truth.reshape(-1, 40, 50)[-1]
    np.testing.assert_array_equal(last, truth[1:30, 2:45])


def test_dimension_names_of_an_array_are_followed(tmp_path: Path) -> None:
    data = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(40, 50, 3)
    zarr.create_array(tmp_path / "a.zarr", data=data, dimension_names=["x", "y", "c"])
    with open_image(tmp_path / "a.zarr", FIRST_PAGE) as source:
        assert source.shape == (50, 40)
        np.testing.assert_array_equal(source.read([1], Box(0, 0, 50, 40))[0], data[..., 1].T)


def test_a_channel_last_colour_array_is_rgb_and_is_not_guessed(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.zeros((40, 50, 3), np.uint8))
    with open_image(tmp_path / "a.zarr", replace(FIRST_PAGE, channel_last=True)) as source:
        assert source.is_rgb
        assert source.channels == ("R", "G", "B")
    with pytest.raises(ImageError, match="Set channel_last: true"):
        open_image(tmp_path / "a.zarr", FIRST_PAGE)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_missing_chunk_is_the_fill_value(zarr_format: Any, tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(64, 64), chunks=(32, 32), dtype="u2", fill_value=7, zarr_format=zarr_format
    )
    array[:32, :32] = 1
    with open_image(tmp_path / "a.zarr", FIRST_PAGE) as source:
        values, counts = np.unique(source.read([0], Box(0, 0, 64, 64)), return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {1: 1024, 7: 3072}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("damage", ["garbage", "truncated"])
def test_a_corrupt_chunk_fails_the_read_that_touches_it_and_no_other(version: str, damage: str, tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "slide7.zarr", version)
    chunk = path / ("0/c/0/0/0/0" if version == "0.5" else "0/0.0.0.0")
    content = chunk.read_bytes()
    chunk.write_bytes(b"\x5a" * len(content) if damage == "garbage" else content[: len(content) // 2])
    with open_image(path, FIRST_PAGE) as source:
        with pytest.raises(ImageError, match=r"slide7\.zarr cannot be read in rows 0 to \d+"):
            source.read([0], Box(0, 0, 8, 8))
        np.testing.assert_array_equal(source.read([0], Box(40, 40, 60, 60))[0], IMAGE[0, 0, 40:60, 40:60])


@pytest.mark.parametrize(("zarr_format", "sharded"), [(2, False), (3, False), (3, True)])
@pytest.mark.parametrize("cname", ["lz4", "zstd"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_blosc_chunk_is_an_error_and_never_wrong_pixels(
    zarr_format: Any, sharded: bool, cname: Any, kept: float, tmp_path: Path
) -> None:
    codec = numcodecs.Blosc(cname=cname) if zarr_format == 2 else BloscCodec(cname=cname)
    array = zarr.create_array(
        tmp_path / "slide7.zarr",
        shape=(64, 64),
        chunks=(32, 32),
        shards=(64, 64) if sharded else None,
        dtype="u2",
        compressors=codec,
        zarr_format=zarr_format,
    )
    array[...] = IMAGE[0, 0, :64, :64]
    with open_image(tmp_path / "slide7.zarr", FIRST_PAGE) as source:
        np.testing.assert_array_equal(source.read([0], Box(0, 0, 40, 40))[0], IMAGE[0, 0, :40, :40])
        np.testing.assert_array_equal(source.read([0], Box(0, 0, 64, 64))[0], IMAGE[0, 0, :64, :64])
    for chunk in (path for path in (tmp_path / "slide7.zarr").rglob("*") if path.is_file()):
        if not chunk.name.startswith((".z", "zarr.json")):
            content = chunk.read_bytes()
            chunk.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    for box in (Box(0, 0, 40, 40), Box(0, 0, 64, 64)):
        with (
            open_image(tmp_path / "slide7.zarr", FIRST_PAGE) as source,
            pytest.raises(ImageError, match=r"slide7\.zarr cannot be read"),
        ):
            source.read([0], box)


def test_a_huge_claimed_shape_costs_nothing_until_it_is_read(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(2**40, 2**40), chunks=(64, 64), dtype="u1")
    array[:64, :64] = 5
    with open_image(tmp_path / "a.zarr", FIRST_PAGE) as source:
        assert source.read([0], Box(0, 0, 64, 64)).sum() == 5 * 64 * 64
        assert source.read([0], Box(2**39, 2**39, 2**39 + 64, 2**39 + 64)).sum() == 0


def test_many_threads_may_read_one_source(tmp_path: Path) -> None:
    boxes = [Box(y, x, y + 20, x + 30) for y in range(0, 50, 10) for x in range(0, 60, 10)]
    with open_image(ome_zarr(tmp_path / "a.zarr", "0.5"), FIRST_PAGE) as source, ThreadPoolExecutor(8) as pool:
        for box, read in zip(boxes, pool.map(lambda box: source.read([2, 1], box), boxes), strict=True):
            np.testing.assert_array_equal(read, IMAGE[0, [2, 1], *box.slices])


def damaged_stores(path: Path) -> dict[str, Path]:
    stores = {name: path / name for name in ("empty folder", "no metadata json", "plate", "bare group", "pickled")}
    for store in stores.values():
        store.mkdir()
    (stores["no metadata json"] / "zarr.json").write_text("{")
    zarr.create_group(stores["plate"], overwrite=True, attributes={"ome": {"version": "0.5", "plate": {"wells": []}}})
    zarr.create_group(stores["bare group"], overwrite=True)
    metadata = {"zarr_format": 2, "shape": [4, 4], "chunks": [4, 4], "dtype": "|u1", "compressor": None}
    metadata |= {"fill_value": 0, "order": "C", "filters": [{"id": "pickle"}]}
    (stores["pickled"] / ".zarray").write_text(json.dumps(metadata))
    for name, change in {
        "missing level": {"datasets": [{"path": "9"}]},
        "axes of another number": {"axes": ["y", "x"]},
        "no x axis": {"axes": ["z", "c", "y", "t"]},
        "scale of another length": {
            "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1]}]}]
        },
        "no datasets": {"datasets": None},
    }.items():
        stores[name] = ome_zarr(path / name, "0.5")
        group = zarr.open_group(stores[name])
        ome: Any = group.attrs["ome"]
        group.attrs["ome"] = ome | {"multiscales": [ome["multiscales"][0] | change]}
    for name, data in {"complex": np.zeros((4, 4), complex), "text": np.array([["a", "b"]]), "1D": np.zeros(4)}.items():
        stores[name] = path / name
        zarr.create_array(stores[name], data=data, zarr_format=2)
    stores["zero-sized"] = path / "zero-sized"
    zarr.create_array(stores["zero-sized"], shape=(0, 5), dtype="u1")
    return stores


def test_stores_that_hold_no_readable_image_give_one_error_that_names_them(tmp_path: Path) -> None:
    for name, path in damaged_stores(tmp_path).items():
        with pytest.raises(ImageError) as error:
            open_image(path, FIRST_PAGE)
        assert name in str(error.value)


@pytest.mark.parametrize("field", ["series", "level", "plane"])
def test_a_series_level_or_plane_that_is_not_there_is_refused_with_what_is(field: str, tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "a.zarr", "0.5")
    with pytest.raises(ImageError, match=f"{field} 5 is not in a.zarr; it has"):
        open_image(path, replace(FIRST_PAGE, **{field: 5}))
