import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.quality.values import ValueCounts


def described(plane: np.ndarray, labels: np.ndarray, n_blocks: int = 1) -> dict[str, float | None]:
    counts = ValueCounts(plane.dtype)
    for rows, own in zip(np.array_split(plane, n_blocks), np.array_split(labels, n_blocks), strict=True):
        counts.add(rows, own)
    return counts.result()


@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64"]),
    n_blocks=st.integers(1, 4),
)
def test_shares_and_medians_are_numpys(seed: int, dtype: str, n_blocks: int) -> None:
    rng = np.random.default_rng(seed)
    low = 0 if dtype.startswith("u") else -100
    plane = rng.integers(low, 127, (12, 9)).astype(dtype)
    labels = (rng.random(plane.shape) < 0.4).astype(np.uint32) * 7
    found = described(plane, labels, n_blocks)
    assert found["zero_share"] == pytest.approx((plane == 0).mean())
    for name, part in (("median_in_cells", plane[labels > 0]), ("median_outside", plane[labels == 0])):
        assert part.size == 0 or found[name] == pytest.approx(
            float(np.median(part.astype(float))), rel=1 / 64, abs=1e-3
        )
        if np.dtype(dtype).itemsize <= 2:
            assert found[name] == (float(np.median(part.astype(float))) if part.size else None)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_the_largest_value_of_the_type_is_the_top_of_the_range(dtype: str) -> None:
    plane = np.full((10, 10), 50, dtype)
    plane[0, :3] = np.iinfo(dtype).max
    labels = np.zeros((10, 10), np.uint32)
    labels[0] = 1
    found = described(plane, labels)
    assert (found["saturated_share"], found["saturated_in_cells"]) == (0.03, 0.3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_a_pile_at_the_images_own_maximum_is_saturation_and_a_tail_is_not(dtype: str) -> None:
    rng = np.random.default_rng(1)
    plane = rng.gamma(2.0, 25.0, (300, 300)).clip(0, 250)
    labels = np.ones(plane.shape, np.uint32)
    tail = described(plane.astype(dtype), labels)
    assert tail["saturated_share"] is not None
    assert tail["saturated_share"] < 0.01
    clipped = described(np.minimum(plane, 100).astype(dtype), labels, 3)
    assert clipped["saturated_share"] == pytest.approx((plane >= 100).mean(), rel=0.01)


def test_no_pixels_and_nothing_but_nan_are_not_known() -> None:
    for plane in (np.zeros((0, 5), np.uint8), np.full((4, 5), np.nan, np.float32)):
        assert set(described(plane, np.zeros(plane.shape, np.uint32)).values()) == {None}
