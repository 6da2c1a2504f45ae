"""The engine for notebooks and other programs."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import cohortseg
from cohortseg.errors import ChannelError, ImageError, SettingsError
from cohortseg.settings import SegmentSettings

CPU: dict[str, Any] = {"device": "cpu", "diameter": 20.0}


@pytest.fixture(scope="module")
def field() -> NDArray[np.uint16]:
    """Return a small image of nuclei."""
    from cohortseg.synthetic import crowded_field

    return crowded_field((100, 120), n_cells=14, diameter_px=20.0, seed=4)[0]


@pytest.fixture(scope="module")
def cells(field: NDArray[np.uint16]) -> geopandas.GeoDataFrame:
    return cohortseg.segment_image(field, **CPU)


def test_the_public_names_are_there() -> None:
    for name in ("segment_image", "labels_from_flows", "rasterise", "polygonise", "stitch_planes"):
        assert name in cohortseg.__all__
        assert callable(getattr(cohortseg, name))


def test_an_array_gives_cells_with_the_columns_of_the_file(cells: geopandas.GeoDataFrame) -> None:
    assert len(cells) >= 5
    assert set(cells.columns) == {
        "cell_id",
        "geometry",
        "area_px",
        "centroid_x",
        "centroid_y",
        "score",
        "flow_error",
        "touches_edge",
    }
    assert list(cells["cell_id"]) == list(range(1, len(cells) + 1))
    labels = cohortseg.rasterise(cells, (100, 120))
    assert cohortseg.polygonise(labels).geometry.geom_equals(cells.geometry).all()


def test_a_path_gives_the_same_cells_as_its_array(
    field: NDArray[np.uint16], cells: geopandas.GeoDataFrame, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", field)
    for path in (tmp_path / "a.tif", str(tmp_path / "a.tif")):
        assert cohortseg.segment_image(path, **CPU).equals(cells)


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "int64", "float32", "float64", ">u2"])
def test_the_type_of_the_pixels_does_not_matter(
    field: NDArray[np.uint16], cells: geopandas.GeoDataFrame, dtype: str
) -> None:
    found = cohortseg.segment_image(field.astype(dtype), **CPU)
    assert len(found) == len(cells)
    assert found.geometry.geom_equals(cells.geometry).mean() > 0.9


def test_channels_are_first_or_last_or_colours(field: NDArray[np.uint16], cells: geopandas.GeoDataFrame) -> None:
    first = np.stack([np.zeros_like(field), field])
    assert cohortseg.segment_image(first, channels=(1,), **CPU).equals(cells)
    last = np.moveaxis(first, 0, -1)
    settings = SegmentSettings(channel_last=True)
    assert cohortseg.segment_image(last, channels=[1], settings=settings, **CPU).equals(cells)
    colours = np.repeat((field // 256).astype(np.uint8)[..., None], 3, axis=2)
    grey = cohortseg.segment_image((field // 256).astype(np.uint8), **CPU)
    assert len(cohortseg.segment_image(colours, **CPU)) == len(grey)
    with pytest.raises(ChannelError, match="channel 'G' is not in array; it has: 0, 1"):
        cohortseg.segment_image(first, channels=("G",), **CPU)


def test_arguments_win_over_settings(field: NDArray[np.uint16], cells: geopandas.GeoDataFrame) -> None:
    settings = SegmentSettings(device="cuda", diameter=99.0)
    assert cohortseg.segment_image(field, settings=settings, **CPU).equals(cells)


def test_an_image_without_cells_gives_no_rows_of_the_same_types(cells: geopandas.GeoDataFrame) -> None:
    found = cohortseg.segment_image(np.full((30, 2000), 5, np.uint8), device="cpu")
    assert len(found) == 0
    assert dict(found.dtypes) == dict(cells.dtypes)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros(4),
        np.zeros((2, 2, 2, 2)),
        np.zeros((0, 5)),
        np.zeros((3, 3), complex),
        np.array([["a"]]),
    ],
    ids=["line", "four axes", "no pixels", "complex", "text"],
)
def test_an_array_that_is_no_image_is_refused(image: NDArray[Any]) -> None:
    with pytest.raises(ImageError, match="real numbers as"):
        cohortseg.segment_image(image, device="cpu")


def test_faulty_settings_are_told() -> None:
    with pytest.raises(SettingsError, match="diameter: found -1"):
        cohortseg.segment_image(np.zeros((9, 9)), diameter=-1.0)


def test_alpha_is_not_looked_at_and_channels_last_must_be_said(
    field: NDArray[np.uint16], cells: geopandas.GeoDataFrame
) -> None:
    grey = (field // 256).astype(np.uint8)
    colours = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    assert cohortseg.segment_image(colours, **CPU).equals(cohortseg.segment_image(colours[..., :3], **CPU))
    with pytest.raises(ImageError, match=r"the array has shape \(100, 120, 2\)"):
        cohortseg.segment_image(np.stack([field, field], axis=-1), **CPU)
