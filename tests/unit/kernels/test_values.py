"""The pixels of each cell, against numpy's own indexing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.kernels.values import MOMENTS, describe_values, gather_values

IDS = np.array([2, 9, 2**32 - 1], np.uint32)


@settings(deadline=None)
@given(st.data(), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
def test_every_cell_has_its_own_pixels(data: st.DataObject, shape: tuple[int, int]) -> None:
    labels = data.draw(hnp.arrays(np.uint32, shape, elements=st.sampled_from([0, *IDS.tolist()])))
    image = data.draw(hnp.arrays(np.uint16, (2, *shape)))
    places = np.full(IDS.size, -1)
    found = gather_values(labels, image, IDS, places)
    assert not isinstance(found, int)
    assert (places == -1).all()
    assert sorted(found.rows.tolist()) == [row for row, cell_id in enumerate(IDS) if (labels == cell_id).any()]
    for i, row in enumerate(found.rows):
        own = found.values[:, found.offsets[i] : found.offsets[i + 1]]
        np.testing.assert_array_equal(own, image[:, labels == IDS[row]])


def test_an_unknown_label_is_told_and_the_scratch_stays_clean() -> None:
    places = np.full(IDS.size, -1)
    assert gather_values(np.array([[2, 5]], np.uint32), np.zeros((1, 1, 2)), IDS, places) == 5
    assert (places == -1).all()


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 40)), elements=st.floats(-1e6, 1e6)),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_descriptions_are_those_of_numpy(values: np.ndarray, quantiles: list[float]) -> None:
    found = describe_values(values.copy(), np.array([0, values.shape[1]]), np.array(quantiles), True)[0]
    for channel, own in enumerate(values):
        expected = [getattr(np, name)(own) for name in MOMENTS]
        expected += [np.quantile(own, quantile) for quantile in quantiles]
        np.testing.assert_allclose(found[channel], expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "mean", "medians"),
    [
        ([-np.inf, 1, 2, np.inf], np.nan, [-np.inf, 1.5, np.inf]),
        ([1, 2, np.inf], np.inf, [1, 2, np.inf]),
        ([-np.inf, -np.inf, 5], -np.inf, [-np.inf, -np.inf, 5]),
        ([1, np.inf, np.inf, np.inf], np.inf, [1, np.inf, np.inf]),
    ],
)
def test_infinite_pixels_spoil_only_what_they_must(values: list[float], mean: float, medians: list[float]) -> None:
    found = describe_values(np.array([values]), np.array([0, len(values)]), np.array([0, 0.5, 1]), True)[0, 0]
    np.testing.assert_equal(found[:3], [mean, mean, np.nan])
    assert found[3:].tolist() == [medians[0], medians[-1], *medians]
    assert np.median(values) == medians[1], "as numpy has it"


def test_a_cell_without_pixels_has_no_description() -> None:
    assert np.isnan(describe_values(np.zeros((1, 0)), np.zeros(2, np.int64), np.array([0.5]), False)).all()
