"""The table of cells, against skimage's regionprops of the whole image."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from skimage.measure import regionprops

from cohortseg.arrays import Box, Image, Labels
from cohortseg.errors import ImageError, TableError
from cohortseg.quantify import Wanted, measure_cells
from cohortseg.shapes import polygonise
from cohortseg.stores.source import ArraySource, ImageFacts

CHANNELS = ("DAPI", "CD45 (raw)", "membrane")


def source_of(image: Image) -> ArraySource:
    facts = ImageFacts(Path("made.tif"), image.shape[1:], image.dtype, CHANNELS[: len(image)], False, None, 1, "made")
    return ArraySource(image, facts)


def table_of(labels: Labels) -> gpd.GeoDataFrame:
    polygons = polygonise(labels)
    n = len(polygons)
    return polygons.assign(score=np.linspace(0, 1, n, dtype=np.float32), touches_edge=np.arange(n) % 2 == 0)


def measured(
    labels: Labels,
    image: Image,
    block_px: int = 16,
    pixel_size_um: float | None = None,
    statistics: tuple[str, ...] = ("mean",),
    percentiles: tuple[float, ...] = (),
) -> pd.DataFrame:
    return measure_cells(
        lambda box: labels[box.slices],
        source_of(image),
        Wanted(range(len(image)), CHANNELS[: len(image)], statistics, percentiles),
        table_of(labels),
        block_px=block_px,
        pixel_size_um=pixel_size_um,
    )


def scene() -> tuple[Labels, Image]:
    """Return 96 × 80 px of 40 tilted ellipses, touching, cut by the border and by each other, and 3 channels."""
    rng = np.random.default_rng(5)
    labels = np.zeros((96, 80), np.uint32)
    yy, xx = np.mgrid[:96, :80]
    for label in rng.permutation(40) * 3 + 1:
        y, x, angle = *rng.uniform(0, (96, 80)), rng.uniform(0, np.pi)
        along = (yy - y) * np.cos(angle) + (xx - x) * np.sin(angle)
        across = (xx - x) * np.cos(angle) - (yy - y) * np.sin(angle)
        labels[(along / rng.uniform(5, 12)) ** 2 + (across / rng.uniform(2, 5)) ** 2 < 1] = label
    return labels, rng.integers(0, 60_000, (3, 96, 80)).astype(np.uint16)


@pytest.mark.parametrize("block_px", [11, 32, 1_000])
def test_measurements_are_those_of_regionprops_whatever_the_blocks(block_px: int) -> None:
    labels, image = scene()
    cells = measured(labels, image, block_px)
    regions = regionprops(labels.astype(np.int64), image.transpose(1, 2, 0))
    assert cells["cell_id"].tolist() == [region.label for region in regions]
    assert cells["area_px"].tolist() == [region.area for region in regions]
    np.testing.assert_allclose(cells[["centroid_y", "centroid_x"]], [np.add(r.centroid, 0.5) for r in regions])
    for column, name in {
        "major_axis_px": "axis_major_length",
        "minor_axis_px": "axis_minor_length",
        "eccentricity": "eccentricity",
        "perimeter_px": "perimeter_crofton",
        "solidity": "solidity",
    }.items():
        np.testing.assert_allclose(cells[column], [getattr(r, name) for r in regions], atol=1e-6, err_msg=column)
    long = cells["eccentricity"] > 0.1
    turn = cells["orientation_rad"] - [region.orientation for region in regions]
    np.testing.assert_allclose(np.sin(turn[long]), 0, atol=1e-6)
    means = cells[["mean_DAPI", "mean_CD45_raw", "mean_membrane"]]
    np.testing.assert_allclose(means, [region.intensity_mean for region in regions])


def test_blocks_give_the_same_table_to_the_last_bit() -> None:
    labels, image = scene()
    whole = measured(labels, image, 1_000, 0.65)
    pd.testing.assert_frame_equal(measured(labels, image, 7, 0.65), whole, check_exact=True)


STATISTICS = ("median", "std", "max", "sum", "mean", "min")


@pytest.mark.parametrize("block_px", [7, 1_000])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "<i4", "u8", "f2", ">f2", "f8"])
def test_statistics_are_those_of_numpy_over_the_whole_image(block_px: int, dtype: str) -> None:
    labels, image = scene()
    image = (image // 300 * (1 if dtype[-2] in "ui" else 0.37)).astype(dtype)
    cells = measured(labels, image, block_px, statistics=STATISTICS, percentiles=(0, 12.5, 90, 100))
    for index, name in enumerate(("DAPI", "CD45_raw", "membrane")):
        pixels = [image[index].astype(float)[labels == cell_id] for cell_id in cells["cell_id"]]
        for statistic in STATISTICS:
            expected = [getattr(np, statistic)(values) for values in pixels]
            np.testing.assert_allclose(cells[f"{statistic}_{name}"], expected, rtol=1e-12, atol=1e-9, err_msg=statistic)
        for column, percentile in {"p0": 0, "p12_5": 12.5, "p90": 90, "p100": 100}.items():
            expected = [np.percentile(values, percentile) for values in pixels]
            np.testing.assert_allclose(cells[f"{column}_{name}"], expected, rtol=1e-12)


def test_blocks_give_the_same_statistics_of_fractions_to_the_last_bit() -> None:
    labels, image = scene()
    fractions = np.random.default_rng(1).normal(0, 1e3, image.shape)
    whole = measured(labels, fractions, 1_000, statistics=STATISTICS, percentiles=(5,))
    blocked = measured(labels, fractions, 7, statistics=STATISTICS, percentiles=(5,))
    pd.testing.assert_frame_equal(blocked, whole, check_exact=True)


def test_a_missing_value_marks_only_the_cell_and_the_channel_that_has_it() -> None:
    labels = np.array([[2, 9, 9]], np.uint32)
    image = np.array([[[np.nan, 4, 6]], [[1, 2, np.nan]]], np.float32)
    cells = measured(labels, image, statistics=STATISTICS, percentiles=(50,)).set_index("cell_id")
    of_dapi, of_cd45 = (cells.filter(like=name) for name in ("DAPI", "CD45"))
    assert of_dapi.loc[2].isna().all()
    assert of_dapi.loc[9].tolist() == [5, 1, 6, 10, 5, 4, 5]
    assert of_cd45.loc[9].isna().all()
    assert of_cd45.loc[2].tolist() == [1, 0, 1, 1, 1, 1, 1]


def test_a_cell_whose_last_block_holds_none_of_it_is_described() -> None:
    labels = np.zeros((20, 20), np.uint32)
    labels[2, 2:15] = labels[2:15, 2] = 1
    cells = measured(labels, np.full((1, 20, 20), 7, np.uint8), 10, statistics=("sum",))
    assert cells["sum_DAPI"].tolist() == [7 * 25]


def test_solidity_counts_the_pixels_of_the_hull() -> None:
    shapes = np.zeros((6, 14), np.uint32)
    shapes[1:5, 1:4] = 1
    shapes[1:3, 5], shapes[2, 6] = 2, 2
    shapes[0, 8:13:2] = 3  # three pieces
    shapes[2:6, 8:13] = 4
    shapes[3:5, 9:12] = 0  # a hole
    for block_px in (3, 100):
        cells = measured(shapes, np.ones((1, 6, 14), np.uint8), block_px)
        assert cells["solidity"].tolist() == [1, 1, 3 / 5, 14 / 20]


def test_solidity_is_of_the_pixels_that_other_cells_leave() -> None:
    """Where polygons overlap, the labels decide, as for all other measurements."""
    labels = np.zeros((9, 9), np.uint32)
    labels[1:8, 1:8] = 1
    polygons = table_of(labels)
    labels[1:8, 4:8] = 0
    cells = measure_cells(
        lambda box: labels[box.slices],
        source_of(np.ones((1, 9, 9), np.uint8)),
        Wanted([0], ["a"]),
        polygons,
        block_px=4,
        pixel_size_um=None,
    )
    assert cells["solidity"].tolist() == [1]


def test_a_disc_s_perimeter_is_that_of_its_circle() -> None:
    yy, xx = np.mgrid[:101, :101]
    labels = ((yy - 50) ** 2 + (xx - 50) ** 2 < 40**2).astype(np.uint32)
    cells = measured(labels, np.zeros((1, 101, 101), np.uint8))
    assert cells["perimeter_px"][0] == pytest.approx(2 * np.pi * 40, rel=0.01)


def test_orientation_turns_from_y_towards_x() -> None:
    labels = np.zeros((20, 20), np.uint32)
    labels[2:9, 1] = 1
    labels[10, 2:9] = 2
    labels[np.arange(12, 18), np.arange(12, 18)] = 3
    labels[np.arange(12, 18), np.arange(9, 3, -1)] = 4
    labels[2:5, 12:15] = 5
    angles = measured(labels, np.zeros((1, 20, 20), np.uint8))["orientation_rad"]
    np.testing.assert_allclose(angles, [0, np.pi / 2, np.pi / 4, -np.pi / 4, 0], atol=1e-12)


def test_a_cell_of_one_pixel_is_measured() -> None:
    labels = np.zeros((3, 3), np.uint32)
    labels[2, 0] = 9
    cell = measured(labels, np.full((1, 3, 3), 5, np.uint8), pixel_size_um=0.5).iloc[0]
    assert (cell["cell_id"], cell["area_px"], cell["area_um2"], cell["mean_DAPI"]) == (9, 1, 0.25, 5)
    assert (cell["centroid_y"], cell["centroid_x"]) == (2.5, 0.5)
    assert (cell["major_axis_px"], cell["eccentricity"], cell["solidity"]) == (0, 0, 1)


def test_score_and_edge_come_from_the_polygons_and_what_is_in_um_needs_a_pixel_size() -> None:
    labels, image = scene()
    cells, polygons = measured(labels, image), table_of(labels)
    assert cells["score"].tolist() == polygons["score"].tolist()
    assert cells["touches_edge"].tolist() == polygons["touches_edge"].tolist()
    of_px = {"area_um2": ("area_px", 4.0), "centroid_x_um": ("centroid_x", 2.0), "centroid_y_um": ("centroid_y", 2.0)}
    of_px |= {f"{name}_um": (f"{name}_px", 2.0) for name in ("perimeter", "major_axis", "minor_axis")}
    assert [name for name in cells.columns if "_um" in name] == list(of_px)
    with_size = measured(labels, image, pixel_size_um=2.0)
    for name, (in_px, factor) in of_px.items():
        assert cells[name].isna().all()
        assert (with_size[name] == factor * with_size[in_px]).all(), name


def test_polygons_in_any_order_keep_their_own_values() -> None:
    labels, image = scene()
    shuffled = table_of(labels).sample(frac=1, random_state=0)
    cells = measure_cells(
        lambda box: labels[box.slices], source_of(image), Wanted([2], ["a"]), shuffled, block_px=64, pixel_size_um=None
    )
    expected = measured(labels, image).rename(columns={"mean_membrane": "mean_a"})[cells.columns]
    pd.testing.assert_frame_equal(cells, expected)


def test_an_image_without_cells_gives_every_column_and_is_not_read() -> None:
    labels, image = scene()
    full = measured(labels, image)

    def refuse(box: Box) -> Labels:
        raise AssertionError(f"read {box}")

    empty = measure_cells(
        refuse,
        source_of(image),
        Wanted(range(3), CHANNELS),
        table_of(np.zeros_like(labels)),
        block_px=16,
        pixel_size_um=None,
    )
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_a_polygon_without_a_pixel_has_no_measurements_and_no_warning() -> None:
    sliver = gpd.GeoDataFrame(
        {"cell_id": [4], "score": [0.5], "touches_edge": [False]}, geometry=[shapely.box(1.1, 1.1, 1.2, 1.2)]
    )
    nothing = np.zeros((5, 5), np.uint32)
    cell = measure_cells(
        lambda box: nothing[box.slices],
        source_of(np.ones((1, 5, 5), np.uint8)),
        Wanted([0], ["DAPI"]),
        sliver,
        block_px=5,
        pixel_size_um=1.0,
    ).iloc[0]
    assert cell["area_px"] == 0
    assert cell[["centroid_x", "perimeter_px", "major_axis_px", "eccentricity", "mean_DAPI"]].isna().all()


def test_blocks_without_cells_are_not_decoded() -> None:
    labels = np.zeros((40, 40), np.uint32)
    labels[33:36, 2:6] = 1
    boxes: list[Box] = []

    class Watched(ArraySource):
        def _read(self, channels: list[int], box: Box) -> Image:
            boxes.append(box)
            return super()._read(channels, box)

    known = source_of(np.ones((1, 40, 40), np.uint8))
    facts = ImageFacts(known.path, (40, 40), known.dtype, ("a",), False, None, 1, "made")
    watched = Watched(np.ones((1, 40, 40), np.uint8), facts)
    measure_cells(
        lambda box: labels[box.slices], watched, Wanted([0], ["a"]), table_of(labels), block_px=10, pixel_size_um=None
    )
    assert boxes == [Box(30, 0, 40, 10)]


@pytest.mark.parametrize("column", ["cell_id", "score", "touches_edge"])
def test_a_missing_column_is_named(column: str) -> None:
    labels, image = scene()
    with pytest.raises(TableError, match=f"no column {column}"):
        measure_cells(
            lambda box: labels[box.slices],
            source_of(image),
            Wanted([0], ["a"]),
            table_of(labels).drop(columns=column),
            block_px=9,
            pixel_size_um=None,
        )


@pytest.mark.parametrize("cell_ids", [[1, 1], [0, 1], [1, 2**32 + 1]])
def test_ids_that_labels_cannot_hold_are_refused(cell_ids: list[int]) -> None:
    labels = np.array([[1, 2]], np.uint32)
    polygons = table_of(labels).assign(cell_id=cell_ids)
    with pytest.raises(TableError, match="not a numbering"):
        measure_cells(
            lambda box: labels[box.slices],
            source_of(np.zeros((1, 1, 2), np.uint8)),
            Wanted([0], ["a"]),
            polygons,
            block_px=9,
            pixel_size_um=None,
        )


def test_labels_of_another_segmentation_are_refused() -> None:
    labels, image = scene()
    with pytest.raises(TableError, match="Segment the sample again"):
        measure_cells(
            lambda box: labels[box.slices] + np.uint32(1),
            source_of(image),
            Wanted([0], ["a"]),
            table_of(labels),
            block_px=64,
            pixel_size_um=None,
        )


def test_a_damaged_block_is_the_image_s_own_error() -> None:
    class Damaged(ArraySource):
        def _read(self, channels: list[int], box: Box) -> Image:
            raise ImageError("tile 3 of made.tif is damaged", "expected 512 bytes", "Copy the file again.")

    labels, image = scene()
    source = Damaged(image, ImageFacts(Path("made.tif"), labels.shape, image.dtype, CHANNELS, False, None, 1, "made"))
    with pytest.raises(ImageError, match="tile 3"):
        measure_cells(
            lambda box: labels[box.slices],
            source,
            Wanted([0], ["a"]),
            table_of(labels),
            block_px=64,
            pixel_size_um=None,
        )


@pytest.mark.parametrize(
    ("channels", "names", "columns"),
    [
        ([0, 1], ["DAPI", "CD45"], ["mean_DAPI", "mean_CD45"]),
        ([3], ["β-actin / 488nm"], ["mean_β_actin_488nm"]),
        ([0, 2], ["", "()"], ["mean_0", "mean_2"]),
        ([1, 2], ["CD45", "cd45"], ["mean_CD45_1", "mean_cd45_2"]),
        ([0, 1, 2], ["A", "A", "A_0"], ["mean_A_0", "mean_A_1", "mean_A_0_2"]),
        ([0, 0], ["A", "A"], ["mean_A_0", "mean_A_0_0"]),
    ],
)
def test_columns_are_safe_and_never_alike(channels: list[int], names: list[str], columns: list[str]) -> None:
    assert Wanted(channels, names).columns() == columns


def test_no_two_measurements_of_any_channels_have_one_name() -> None:
    columns = Wanted([0, 1], ["A", "5_A"], ("mean",), (2, 2.5)).columns()
    assert len(set(columns)) == 6
    assert Wanted([0], ["A"], (), (99.99999, 100)).columns() == ["p99_99999_A", "p100_A"]
