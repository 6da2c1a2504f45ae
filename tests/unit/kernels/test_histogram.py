from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cohortseg.errors import ImageError
from cohortseg.kernels.histogram import Among, HistogramPercentiles

PERCENTILES = (0.0, 100.0, 50.0, 1.0, 99.0, 33.3)
NARROW = ["bool", "uint8", "int8", "uint16", "int16", ">u2"]
WIDE = ["uint32", "int32", "float16", "float32", "float64", "int64", "uint64", ">f4", ">i4"]


def streamed(values: np.ndarray, percentiles: Sequence[float] = PERCENTILES, n_blocks: int = 3) -> np.ndarray:
    accumulator = HistogramPercentiles(values.dtype, percentiles)
    again = True
    while again:
        for block in np.array_split(values, n_blocks):
            accumulator.add(block)
        again = accumulator.next_pass()
    return accumulator.result()


@pytest.mark.parametrize("dtype", NARROW + WIDE)
@pytest.mark.parametrize("size", [1, 2, 3, 4_000])
def test_equals_numpy_over_all_values_at_once(dtype: str, size: int) -> None:
    kind = np.dtype(dtype).kind
    values = np.random.default_rng(size).normal(0, 90, size)
    values = (np.abs(values) if kind in "ub" else values).astype(dtype)
    seen = values.astype(np.float32) if np.dtype(dtype).itemsize == 8 else values
    assert np.array_equal(streamed(values), np.percentile(seen.astype(np.float64), PERCENTILES))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "float32"])
@given(data=st.data())
def test_equals_numpy_at_the_limits_of_a_type(dtype: str, data: st.DataObject) -> None:
    finite = {"allow_nan": False, "allow_infinity": False} if dtype == "float32" else {}
    values = data.draw(arrays(dtype, st.integers(1, 20), elements=finite or None))
    assert np.array_equal(streamed(values), np.percentile(values.astype(np.float64), PERCENTILES))


def test_narrow_types_take_one_pass_and_others_two() -> None:
    assert {HistogramPercentiles(np.dtype(dtype), (1.0,)).passes for dtype in NARROW} == {1}
    assert {HistogramPercentiles(np.dtype(dtype), (1.0,)).passes for dtype in WIDE} == {2}


def test_nan_are_left_out() -> None:
    values = np.array([np.nan, 3, -np.nan, 1, 2, np.nan], np.float32)
    assert streamed(values, (0, 50, 100)).tolist() == [1, 2, 3]


def test_infinities_are_values() -> None:
    values = np.array([-np.inf, -np.inf, 0, np.inf, np.inf], np.float32)
    assert streamed(values, (0, 10, 50, 100)).tolist() == [-np.inf, -np.inf, 0, np.inf]


@pytest.mark.parametrize("values", [np.zeros(0, np.uint8), np.zeros(0, np.float32), np.full(4, np.nan, np.float32)])
def test_without_values_the_percentiles_are_nan(values: np.ndarray) -> None:
    assert np.isnan(streamed(values)).all()


def test_blocks_of_any_shape_and_order_in_memory_count_alike() -> None:
    image = np.random.default_rng(1).integers(0, 60_000, (3, 30, 40)).astype(np.uint16)
    accumulator = HistogramPercentiles(image.dtype, PERCENTILES)
    accumulator.add(image[:, ::2])
    accumulator.add(image[:, 1::2].T)
    assert not accumulator.next_pass()
    assert np.array_equal(accumulator.result(), np.percentile(image, PERCENTILES))


def test_values_that_change_between_the_passes_are_found() -> None:
    accumulator = HistogramPercentiles(np.dtype(np.float32), (50.0,))
    accumulator.add(np.array([1, 2, 3], np.float32))
    assert accumulator.next_pass()
    accumulator.add(np.array([1, 9, 3], np.float32))
    with pytest.raises(ImageError, match="not those of the first pass"):
        accumulator.next_pass()


def test_values_of_another_type_are_refused() -> None:
    with pytest.raises(ImageError, match="expected type uint8"):
        HistogramPercentiles(np.dtype(np.uint8), (50.0,)).add(np.zeros(3, np.uint16))


def test_types_and_percentiles_out_of_range_are_refused() -> None:
    with pytest.raises(ImageError, match="complex128"):
        HistogramPercentiles(np.dtype(complex), (50.0,))
    for percentile in (-1.0, 101.0, np.nan):
        with pytest.raises(ImageError, match="0 to 100"):
            HistogramPercentiles(np.dtype(np.uint8), (percentile,))


def test_a_result_before_the_last_pass_is_refused() -> None:
    accumulator = HistogramPercentiles(np.dtype(np.float32), (50.0,))
    with pytest.raises(ImageError, match="pass 1 of 2"):
        accumulator.result()


def parted(values: np.ndarray, percentiles: Sequence[float], among: Sequence[Among]) -> np.ndarray:
    accumulator = HistogramPercentiles(values.dtype, percentiles, among)
    again = True
    while again:
        for block in np.array_split(values, 3):
            accumulator.add(block)
        again = accumulator.next_pass()
    return accumulator.result()


def otsu(values: np.ndarray) -> float:
    """Return the value at and below which lies the ground, by trying each."""
    exact = values.astype(np.float64)
    best, found = -1.0, np.nan
    for value in np.unique(exact)[:-1]:
        below, above = exact[exact <= value], exact[exact > value]
        between = len(below) * len(above) * (below.mean() - above.mean()) ** 2
        if between > best * (1 + 1e-9):
            best, found = between, value
    return float(found)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", ">u2"])
@given(data=st.data())
def test_percentiles_among_the_foreground_are_those_above_otsus_threshold(dtype: str, data: st.DataObject) -> None:
    values = data.draw(arrays(dtype, st.integers(2, 30), elements=st.integers(0, 120)))
    found = parted(values, (1.0, 99.0, 30.0), ("all", "above", "below"))
    exact = values.astype(np.float64)
    threshold = otsu(values)
    above, below = (exact, exact) if np.isnan(threshold) else (exact[exact > threshold], exact[exact <= threshold])
    expected = [np.percentile(exact, 1.0), np.percentile(above, 99.0), np.percentile(below, 30.0)]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", "float32", "float64"])
def test_few_bright_values_on_much_ground_are_told_apart(dtype: str) -> None:
    rng = np.random.default_rng(0)
    ground, bright = rng.normal(160, 12, 200_000), rng.normal(2000, 300, 60)
    values = np.concatenate([ground, bright]).astype(dtype)
    rng.shuffle(values)
    seen = values.astype(np.float32).astype(np.float64)
    lower, upper = parted(values, (1.0, 99.0), ("all", "above"))
    np.testing.assert_allclose(lower, np.percentile(seen, 1.0))
    np.testing.assert_allclose(upper, np.percentile(seen[seen > 600], 99.0))


@pytest.mark.parametrize("values", [np.full(5, 7, np.uint16), np.full(5, 7, np.float32), np.array([np.inf, 1.0])])
def test_where_all_is_one_class_a_part_is_the_whole(values: np.ndarray) -> None:
    found = parted(values, (0.0, 0.0, 0.0), ("all", "above", "below"))
    assert found[0] == found[2] == values.min()
