"""Measurements of nuclei, cytoplasms and rings, and less the background, against whole images."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from skimage.draw import ellipse
from skimage.segmentation import expand_labels

from cohortseg.arrays import Box, Image, Labels
from cohortseg.quantify import Wanted, measure_cells
from cohortseg.shapes import polygonise
from cohortseg.stores.source import ArraySource, ImageFacts

STATISTICS = ("mean", "median", "sum", "std", "min", "max")


def table_of(labels: Labels) -> gpd.GeoDataFrame:
    polygons = polygonise(labels)
    return polygons.assign(score=0.5, touches_edge=False)


def measured(
    cells: Labels, image: Image, block_px: int, nuclei: Labels | None = None, **wanted: object
) -> pd.DataFrame:
    names = [f"C{i}" for i in range(len(image))]
    facts = ImageFacts(None, image.shape[1:], image.dtype, tuple(names), False, None, 1, "made")  # type: ignore[arg-type]
    return measure_cells(
        lambda box: cells[box.slices],
        ArraySource(image, facts),
        Wanted(range(len(image)), names, STATISTICS, (10,), **wanted),  # type: ignore[arg-type]
        table_of(cells),
        block_px=block_px,
        pixel_size_um=None,
        read_nuclei=None if nuclei is None else lambda box: nuclei[box.slices],
    ).set_index("cell_id")


def scene(dtype: str = "u2") -> tuple[Labels, Labels, Image]:
    """Return 70 × 90 px: cells, some of them touching, nuclei that are shifted against them, and two channels."""
    rng = np.random.default_rng(3)
    cells, nuclei = np.zeros((70, 90), np.uint32), np.zeros((70, 90), np.uint32)
    for number in range(1, 26):
        y, x, turn = *rng.uniform(0, (70, 90)), rng.uniform(0, np.pi)
        cells[ellipse(y, x, 9, 5, cells.shape, turn)] = 3 * number
        if number % 4:
            nuclei[ellipse(*(np.array([y, x]) + rng.uniform(-4, 4, 2)), 3, 2.4, nuclei.shape)] = 1000 - number
    pixels = rng.integers(0, 60_000, (2, 70, 90))
    return cells, nuclei, (pixels if dtype[0] == "u" else pixels / 7).astype(dtype)


def by_numpy(values: np.ndarray, prefix: str) -> float:
    if not values.size:
        return np.nan
    return float(np.percentile(values, 10) if prefix == "p10" else getattr(np, prefix)(values.astype(float)))


def owners_of(cells: Labels, nuclei: Labels) -> Labels:
    """Return for each pixel of a nucleus the cell that holds most of the nucleus."""
    owned = np.zeros_like(cells)
    for number in np.unique(nuclei[(nuclei > 0) & (cells > 0)]):
        numbers, counts = np.unique(cells[(nuclei == number) & (cells > 0)], return_counts=True)
        owned[nuclei == number] = numbers[np.argmax(counts)]
    return owned


@pytest.mark.parametrize("block_px", [13, 32, 1000])
def test_each_compartment_is_measured_as_numpy_does_over_the_whole_image(block_px: int) -> None:
    cells, nuclei, image = scene()
    table = measured(cells, image, block_px, nuclei, ring_px=4)
    owned, ring = owners_of(cells, nuclei), expand_labels(cells, 4) * (cells == 0)
    parts = {
        "nucleus_": np.where(owned == cells, cells, 0) * (nuclei > 0),
        "cytoplasm_": np.where(nuclei == 0, cells, 0),
        "": cells,
    }
    assert table["nucleus_id"].isna().sum() > 3, "some cells without a nucleus"
    assert (parts["nucleus_"] + parts["cytoplasm_"] != cells).any(), "some nuclei reach into other cells"
    for start, labels in parts.items():
        if start:
            assert table[f"{start}area_px"].tolist() == [(labels == number).sum() for number in table.index]
        for channel in range(2):
            for prefix in (*STATISTICS, "p10"):
                expected = [by_numpy(image[channel][labels == number], prefix) for number in table.index]
                np.testing.assert_allclose(table[f"{prefix}_{start}C{channel}"], expected, rtol=1e-12, err_msg=prefix)
    # Ties are left open by expand_labels: the pixels of all rings together are the same.
    assert table["ring_area_px"].sum() == (ring != 0).sum()
    assert table["sum_ring_C0"].sum() == image[0][ring != 0].sum()


@pytest.mark.parametrize("dtype", ["u2", ">f4", "f8", "i8"])
@pytest.mark.parametrize("background", ["image", "ring"])
def test_blocks_give_the_same_table_to_the_last_bit(dtype: str, background: str) -> None:
    cells, nuclei, image = scene(dtype)
    whole = measured(cells, image, 1000, nuclei, ring_px=5, background=background)
    for block_px in (4, 17):
        blocked = measured(cells, image, block_px, nuclei, ring_px=5, background=background)
        pd.testing.assert_frame_equal(blocked, whole, check_exact=True)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4", "i4"])
@pytest.mark.parametrize(("ring_px", "nuclei"), [(None, False), (3, False), (3, True)])
def test_the_background_of_the_image_is_its_median_outside(dtype: str, ring_px: int | None, nuclei: bool) -> None:
    cells, made, image = scene(dtype)
    image = image % 251 + 3
    outside = cells == 0
    outside &= (made == 0) | (not nuclei)
    if ring_px:
        outside &= expand_labels(cells, ring_px) == 0
    given = made if nuclei else None
    raw = measured(cells, image, 32, given, ring_px=ring_px)
    corrected = measured(cells, image, 32, given, ring_px=ring_px, background="image")
    for channel in range(2):
        median = np.median(image[channel][outside].astype(float))
        assert (corrected[f"background_C{channel}"] == median).all()
        for start in ("", *(("ring_",) if ring_px else ()), *(("nucleus_", "cytoplasm_") if nuclei else ())):
            pixels = raw[f"{start}area_px"]
            for prefix in (*STATISTICS, "p10"):
                name = f"{prefix}_{start}C{channel}"
                less = {"std": 0, "sum": median * pixels}.get(prefix, median)
                np.testing.assert_allclose(corrected[name], raw[name] - less, rtol=1e-12, err_msg=name)
    shapes = [name for name in raw.columns if not name.endswith(("C0", "C1"))]
    pd.testing.assert_frame_equal(corrected[shapes], raw[shapes])


def test_the_background_of_a_ring_is_its_median_and_the_ring_itself_stays() -> None:
    cells, nuclei, image = scene()
    raw = measured(cells, image, 32, nuclei, ring_px=4)
    corrected = measured(cells, image, 32, nuclei, ring_px=4, background="ring")
    background = raw["median_ring_C1"].rename("background_C1")
    pd.testing.assert_series_equal(corrected["background_C1"], background)
    np.testing.assert_allclose(corrected["mean_nucleus_C1"], raw["mean_nucleus_C1"] - background)
    np.testing.assert_allclose(corrected["sum_C1"], raw["sum_C1"] - background * raw["area_px"])
    for prefix in (*STATISTICS, "p10"):
        pd.testing.assert_series_equal(corrected[f"{prefix}_ring_C1"], raw[f"{prefix}_ring_C1"])


def test_a_background_is_known_where_the_median_is_not_asked_for() -> None:
    cells = np.zeros((5, 9), np.uint32)
    cells[2, 2] = 1
    image = np.full((1, 5, 9), 10, np.uint16)
    image[0, 2, 1], image[0, 2, 2] = 90, 25
    facts = ImageFacts(None, (5, 9), image.dtype, ("a",), False, None, 1, "made")  # type: ignore[arg-type]
    table = measure_cells(
        lambda box: cells[box.slices],
        ArraySource(image, facts),
        Wanted([0], ["a"], ("sum",), (), 1, "ring"),
        table_of(cells),
        block_px=2,
        pixel_size_um=None,
    )
    assert table[["ring_area_px", "sum_a", "sum_ring_a", "background_a"]].to_numpy().tolist() == [[4, 15, 120, 10]]


def test_where_nothing_lies_outside_there_is_no_background_and_no_number_is_made_up() -> None:
    full = np.ones((6, 6), np.uint32)
    table = measured(full, np.full((1, 6, 6), 7, np.uint8), 4, ring_px=2, background="image")
    assert table[["background_C0", "mean_C0", "sum_C0", "mean_ring_C0"]].isna().all(axis=None)
    assert table["std_C0"].tolist() == [0]
    assert table["ring_area_px"].tolist() == [0]


def test_an_image_without_cells_has_every_column_and_is_not_read() -> None:
    cells, nuclei, image = scene()
    full = measured(cells, image, 32, nuclei, ring_px=2, background="image")

    class Unread(ArraySource):
        def _read(self, channels: list[int], box: Box) -> Image:
            raise AssertionError(f"read {box}")

    none = np.zeros_like(cells)
    facts = ImageFacts(None, none.shape, image.dtype, ("C0", "C1"), False, None, 1, "made")  # type: ignore[arg-type]
    empty = measure_cells(
        lambda box: none[box.slices],
        Unread(image, facts),
        Wanted(range(2), ("C0", "C1"), STATISTICS, (10,), 2, "image"),
        table_of(none),
        block_px=16,
        pixel_size_um=None,
        read_nuclei=lambda box: nuclei[box.slices],
    ).set_index("cell_id")
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert empty.columns.tolist() == full.columns.tolist()


def test_columns_of_compartments_are_never_alike() -> None:
    wanted = Wanted([0, 1], ["A", "nucleus_A"], ("mean",), (), None, "image")
    columns = wanted.columns(("", "nucleus", "cytoplasm"))
    assert len({column.casefold() for column in columns}) == len(columns) == 8
    assert Wanted([0], ["A"], ("mean", "sum"), (5,), 3, "ring").columns(("", "ring")) == [
        "mean_A", "sum_A", "p5_A", "mean_ring_A", "sum_ring_A", "p5_ring_A", "background_A"
    ]  # fmt: skip
