"""Links between planes, against the rule written out and against cellpose's stitching."""

import numpy as np
import pandas as pd
import pytest
from cellpose.utils import stitch3D
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Labels
from cohortseg.errors import StackError
from cohortseg.stitch import Plane, link, link_planes

Links = list[tuple[int, int, int]]


def plane(z_index: int, labels: Labels) -> Plane:
    cell_ids, areas = np.unique(labels[labels > 0], return_counts=True)
    return Plane(z_index, labels.shape, cell_ids.astype(np.int64), areas, lambda box: labels[box.slices])


def stack(volume: Labels) -> list[Plane]:
    return [plane(z, labels) for z, labels in enumerate(volume)]


def ids(links: pd.DataFrame) -> Links:
    return list(links[["z_index", "plane_cell_id", "cell_id"]].itertuples(index=False, name=None))


def row(*values: int) -> Labels:
    return np.array([values], np.uint32)


def by_the_rule(volume: Labels, threshold: float) -> Links:
    """Return the links as the rule says them, cell by cell, in whole numbers until the last comparison."""
    result: Links = []
    below: dict[int, int] = {}
    for z, labels in enumerate(volume):
        claims: dict[int, list[tuple[float, int]]] = {}
        for lower in sorted(below):
            offers = []
            for upper in map(int, np.unique(labels[labels > 0])):
                a, b = volume[z - 1] == lower, labels == upper
                offers.append((-(a & b).sum() / (a | b).sum(), upper))
            if offers and -min(offers)[0] >= threshold:
                claims.setdefault(min(offers)[1], []).append((min(offers)[0], lower))
        here = {}
        for upper in map(int, np.unique(labels[labels > 0])):
            fresh = max([0, *(cell for *_, cell in result)]) + 1
            here[upper] = below[min(claims[upper])[1]] if upper in claims else fresh
            result.append((z, upper, here[upper]))
        below = here
    return result


@settings(deadline=None)
@given(
    hnp.arrays(
        np.uint32,
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5)),
        elements=st.integers(0, 4),
    ),
    st.sampled_from([0.2, 1 / 3, 0.5, 1.0]),
)
def test_links_follow_the_rule_with_its_ties(volume: Labels, threshold: float) -> None:
    assert ids(link_planes(stack(volume), iou_threshold=threshold, workers=0)) == by_the_rule(volume, threshold)


@pytest.mark.parametrize("threshold", [0.25, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_objects_without_ties_are_those_of_cellpose(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    volume = np.zeros((6, 90, 110), np.uint32)
    corners = rng.integers(6, (80, 100), (40, 2))
    for labels in volume:
        corners += rng.integers(-1, 2, corners.shape)
        corners[::7] = rng.integers(6, (80, 100), corners[::7].shape)
        for label, (y, x) in enumerate(corners, start=1):
            height, width = 5 + label % 11 + rng.integers(0, 4, 2)
            labels[y : y + height, x : x + width] = label
    links = link_planes(stack(volume), iou_threshold=threshold, workers=0)
    _, dense = np.unique(volume, return_inverse=True)
    with np.errstate(invalid="ignore"):  # cellpose divides 0 by 0 for values that a plane does not have
        theirs = stitch3D(dense.reshape(volume.shape).astype(np.uint32), stitch_threshold=threshold)
    theirs_of = {(z, c): theirs[z][volume[z] == c][0] for z in range(6) for c in np.unique(volume[z]) if c}
    pairs = {(cell_id, theirs_of[z, c]) for z, c, cell_id in ids(links)}
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({their for _, their in pairs})
    assert (links["iou"] >= threshold).sum() > 30


def test_ids_count_objects_by_first_plane_then_by_the_plane_s_own_id() -> None:
    volume = np.stack([row(9, 9, 4, 4, 0, 0, 0), row(5, 5, 0, 0, 8, 8, 0), row(2, 2, 0, 3, 1, 1, 6)])
    links = link_planes(stack(volume), iou_threshold=0.5, workers=0)
    assert ids(links) == [(0, 4, 1), (0, 9, 2), (1, 5, 2), (1, 8, 3), (2, 1, 3), (2, 2, 2), (2, 3, 4), (2, 6, 5)]
    assert links["iou"].isna().tolist() == [True, True, False, True, False, False, True, True]
    assert links.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64"]


def test_two_cells_that_want_one_leave_it_to_the_better() -> None:
    links = link_planes(stack(np.stack([row(1, 1, 2, 2, 2), row(7, 7, 7, 7, 7)])), iou_threshold=0.3, workers=0)
    assert ids(links) == [(0, 1, 1), (0, 2, 2), (1, 7, 2)]
    assert links["iou"].iloc[-1] == pytest.approx(0.6)


def test_a_plane_without_cells_ends_every_object() -> None:
    cells, none = row(1, 1, 0, 2), row(0, 0, 0, 0)
    links = link_planes(stack(np.stack([none, cells, none, cells, cells, none])), iou_threshold=0.5, workers=0)
    assert ids(links) == [(1, 1, 1), (1, 2, 2), (3, 1, 3), (3, 2, 4), (4, 1, 3), (4, 2, 4)]


def test_a_stack_of_planes_without_cells_gives_no_rows() -> None:
    links = link_planes(stack(np.zeros((3, 4, 4), np.uint32)), iou_threshold=0.5, workers=2)
    assert len(links) == 0
    assert links.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64"]


def test_planes_are_linked_in_the_order_of_z_index_whatever_order_they_come_in() -> None:
    volume = np.stack([row(1, 1, 0, 0), row(1, 1, 2, 2), row(0, 0, 2, 2)])
    planes = [plane(z, labels) for z, labels in zip((-3, 4, 20), volume, strict=True)]
    expected = [(-3, 1, 1), (4, 1, 1), (4, 2, 2), (20, 2, 2)]
    assert ids(link_planes(planes[::-1], iou_threshold=0.5, workers=0)) == expected


def test_workers_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    base = np.kron(rng.integers(0, 400, (12, 14)), np.ones((6, 6))).astype(np.uint32)
    planes = stack(np.stack([np.roll(base, shift, axis=(0, 1)) for shift in ((0, 0), (1, 0), (1, 2), (2, 2))]))
    whole = link_planes(planes, iou_threshold=0.4, workers=0)
    monkeypatch.setattr(link, "BLOCK_PX", 10)
    pd.testing.assert_frame_equal(link_planes(planes, iou_threshold=0.4, workers=4), whole, check_exact=True)
    assert whole["iou"].notna().sum() > 50


def test_planes_of_different_shape_are_named() -> None:
    planes = [plane(0, row(1, 1)), plane(5, row(1, 1, 1))]
    with pytest.raises(StackError, match="plane 0 is 1 × 2 px and plane 5 is 1 × 3 px"):
        link_planes(planes, iou_threshold=0.5, workers=0)


def test_a_repeated_z_index_is_named() -> None:
    with pytest.raises(StackError, match="two planes have z_index 4"):
        link_planes([plane(4, row(1)), plane(4, row(1))], iou_threshold=0.5, workers=0)


def test_no_planes_are_no_stack() -> None:
    with pytest.raises(StackError, match="no planes"):
        link_planes([], iou_threshold=0.5, workers=0)
