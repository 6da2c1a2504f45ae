"""Links between planes, against the rules written out and against cellpose's stitching."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cellpose.utils import stitch3D
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Labels
from cohortseg.errors import StackError
from cohortseg.settings import StitchSettings
from cohortseg.stitch import PlaneCells, drop_short, link_stack

Links = list[tuple[int, int, int]]
Pairs = dict[tuple[int, int], pd.DataFrame]

VOLUMES = hnp.arrays(
    np.uint32, st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5)), elements=st.integers(0, 4)
)
THRESHOLDS = st.sampled_from([0.05, 0.2, 1 / 3, 0.5, 1.0])


def plane(z_index: int, labels: Labels) -> PlaneCells:
    cell_ids, areas = np.unique(labels[labels > 0], return_counts=True)
    return PlaneCells(z_index, labels.shape, cell_ids.astype(np.int64), areas)


def overlaps_of(below: Labels, above: Labels) -> pd.DataFrame:
    rows = []
    for lower in np.unique(below[below > 0]).tolist():
        for upper in np.unique(above[(below == lower) & (above > 0)]).tolist():
            a, b = below == lower, above == upper
            rows.append((lower, upper, int((a & b).sum()), (a & b).sum() / (a | b).sum()))
    table = pd.DataFrame(rows, columns=["lower_id", "upper_id", "overlap_px", "iou"])
    return table.astype({"lower_id": np.int64, "upper_id": np.int64, "overlap_px": np.int64, "iou": float})


def link(volume: Labels, z_indices: list[int] | None = None, **given: Any) -> pd.DataFrame:
    """Link a (z, y, x) stack of labels; z_index 0 and on unless given."""
    indices = z_indices or list(range(len(volume)))
    order = sorted(range(len(volume)), key=indices.__getitem__)
    overlaps = {(indices[i], indices[j]): overlaps_of(volume[i], volume[j]) for i, j in combinations(order, 2)}
    planes = [plane(z, labels) for z, labels in zip(indices, volume, strict=True)]
    return link_stack(planes, overlaps, StitchSettings(**given))


def ids(links: pd.DataFrame) -> Links:
    return list(links[["z_index", "plane_cell_id", "cell_id"]].itertuples(index=False, name=None))


def row(*values: int) -> Labels:
    return np.array([values], np.uint32)


def rows(*values: list[int]) -> Labels:
    return np.array(values, np.uint32)[:, None]


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
@given(VOLUMES, THRESHOLDS)
def test_best_follows_the_rule_with_its_ties(volume: Labels, threshold: float) -> None:
    assert ids(link(volume, iou_threshold=threshold)) == by_the_rule(volume, threshold)


@pytest.mark.parametrize("threshold", [0.25, 0.5])
@pytest.mark.parametrize("seed", range(3))
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
    links = link(volume, iou_threshold=threshold)
    _, dense = np.unique(volume, return_inverse=True)
    with np.errstate(invalid="ignore"):  # cellpose divides 0 by 0 for values that a plane does not have
        theirs = stitch3D(dense.reshape(volume.shape).astype(np.uint32), stitch_threshold=threshold)
    theirs_of = {(z, c): theirs[z][volume[z] == c][0] for z in range(6) for c in np.unique(volume[z]) if c}
    pairs = {(cell_id, theirs_of[z, c]) for z, c, cell_id in ids(links)}
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({their for _, their in pairs})
    assert (links["iou"] >= threshold).sum() > 30


@settings(deadline=None)
@given(VOLUMES, THRESHOLDS, st.sampled_from(["best", "optimal"]), st.integers(0, 3))
def test_links_are_one_to_one_reach_the_threshold_and_bridge_the_gap_at_most(
    volume: Labels, threshold: float, rule: str, max_gap: int
) -> None:
    links = link(volume, iou_threshold=threshold, rule=rule, max_gap=max_gap)
    assert not links.duplicated(["z_index", "cell_id"]).any(), "one cell of an object in a plane"
    assert not (links["iou"] < threshold).any()
    steps = links.groupby("cell_id")["z_index"].diff().dropna()
    assert (steps <= max_gap + 1).all()
    firsts = links.drop_duplicates("cell_id")
    assert firsts["cell_id"].tolist() == list(range(1, len(firsts) + 1)), "numbered by first plane, then own id"
    assert firsts["iou"].isna().all()
    assert links["iou"].notna().sum() == len(links) - len(firsts)


@settings(deadline=None)
@given(VOLUMES.filter(lambda volume: len(volume) > 1), THRESHOLDS)
def test_optimal_links_have_at_least_the_total_iou_of_the_best(volume: Labels, threshold: float) -> None:
    best, optimal = (link(volume[:2], iou_threshold=threshold, rule=rule) for rule in ("best", "optimal"))
    assert optimal["iou"].sum() >= best["iou"].sum() - 1e-12


@settings(deadline=None)
@given(VOLUMES, THRESHOLDS, st.sampled_from(["best", "optimal"]), st.sampled_from(["flag", "join"]), st.randoms())
def test_ids_do_not_depend_on_the_order_that_planes_come_in(
    volume: Labels, threshold: float, rule: str, splits: str, random: Any
) -> None:
    given_settings = {"iou_threshold": threshold, "rule": rule, "splits": splits, "max_gap": 1}
    order = list(range(len(volume)))
    random.shuffle(order)
    shuffled = link(volume[order], order, **given_settings)
    pd.testing.assert_frame_equal(shuffled, link(volume, **given_settings), check_exact=True)


def partition(links: pd.DataFrame, n_planes: int, *, turned: bool) -> set[frozenset[tuple[int, int]]]:
    """Return the objects as sets of (z, cell), with z counted from the other end where the stack was turned."""
    z = n_planes - 1 - links["z_index"] if turned else links["z_index"]
    cells = pd.Series(list(zip(z, links["plane_cell_id"], strict=True)))
    return set(cells.groupby(links["cell_id"].to_numpy()).agg(frozenset))


def without_ties(seed: int) -> Labels:
    """Return planes whose overlaps all have an IoU of their own: rectangles with random sides."""
    rng = np.random.default_rng(seed)
    volume = np.zeros((5, 60, 60), np.uint32)
    for labels in volume:
        for label in rng.permutation(30) + 1:
            y, x = rng.integers(0, 50, 2)
            height, width = rng.integers(3, 23, 2)
            labels[y : y + height, x : x + width] = label
    return volume


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("given_settings", [{}, {"max_gap": 2}, {"splits": "join", "split_share": 0.6, "max_gap": 1}])
def test_optimal_links_are_the_same_from_above_and_from_below(seed: int, given_settings: dict[str, Any]) -> None:
    volume = without_ties(seed)
    both = [link(v, rule="optimal", iou_threshold=0.05, **given_settings) for v in (volume, volume[::-1])]
    up, down = (partition(links, 5, turned=turned) for links, turned in zip(both, (False, True), strict=True))
    assert up == down
    assert both[0]["n_splits"].sum() == both[1]["n_merges"].sum()
    assert len(up) < len(both[0])


def test_over_a_threshold_of_a_half_best_is_the_same_from_above_and_from_below_and_optimal() -> None:
    rng = np.random.default_rng(7)
    base = np.kron(rng.permutation(100).reshape(10, 10) + 1, np.ones((9, 9))).astype(np.uint32)
    volume = np.stack([np.roll(base, shift, (0, 1)) for shift in ((0, 0), (1, 1), (1, 3), (2, 3))])
    up, optimal = (link(volume, rule=rule, iou_threshold=0.51) for rule in ("best", "optimal"))
    down = link(volume[::-1], iou_threshold=0.51)
    assert partition(up, 4, turned=False) == partition(down, 4, turned=True) == partition(optimal, 4, turned=False)
    assert up["iou"].notna().sum() > 100


def test_below_a_half_best_may_depend_on_the_direction_where_optimal_does_not() -> None:
    # Up, 1 and 2 both want 1, which takes 2; and 1, whose second choice 2 is free, ends. Down, 2 gets that 1.
    volume = rows([1, 1, 1, 1, 1, 1, 2, 2, 2, 2], [2, 2, 1, 1, 1, 1, 1, 1, 1, 1])
    best = [len(partition(link(v, iou_threshold=0.2), 2, turned=False)) for v in (volume, volume[::-1])]
    optimal = [
        len(partition(link(v, iou_threshold=0.2, rule="optimal"), 2, turned=False)) for v in (volume, volume[::-1])
    ]
    assert best == [3, 2]
    assert optimal == [2, 2]


def test_ids_count_objects_by_first_plane_then_by_the_plane_s_own_id() -> None:
    volume = np.stack([row(9, 9, 4, 4, 0, 0, 0), row(5, 5, 0, 0, 8, 8, 0), row(2, 2, 0, 3, 1, 1, 6)])
    links = link(volume)
    assert ids(links) == [(0, 4, 1), (0, 9, 2), (1, 5, 2), (1, 8, 3), (2, 1, 3), (2, 2, 2), (2, 3, 4), (2, 6, 5)]
    assert links["iou"].isna().tolist() == [True, True, False, True, False, False, True, True]
    assert links.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64", "int32", "int32"]


def test_two_cells_that_want_one_leave_it_to_the_better_and_the_other_merges() -> None:
    volume = rows([1, 1, 2, 2, 2], [7, 7, 7, 7, 7])
    links = link(volume, iou_threshold=0.3)
    assert ids(links) == [(0, 1, 1), (0, 2, 2), (1, 7, 2)]
    assert links["iou"].iloc[-1] == pytest.approx(0.6)
    assert links["n_merges"].tolist() == [0, 0, 1]
    assert links["n_splits"].tolist() == [0, 0, 0]
    assert ids(link(volume, iou_threshold=0.3, splits="join")) == [(0, 1, 1), (0, 2, 1), (1, 7, 1)]


def test_a_cell_that_splits_counts_the_pieces_that_lie_within_it_and_joins_them_with_all_above() -> None:
    # 3 lies half outside: at a share of 0.6 it is no piece of 1.
    volume = rows([1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 2, 2, 3, 3, 0], [1, 1, 1, 9, 9, 0, 0, 0])
    links = link(volume, iou_threshold=0.4, split_share=0.6)
    assert ids(links) == [(0, 1, 1), (1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 1), (2, 9, 2)]
    assert links["n_splits"].tolist() == [1, 0, 0, 0, 0, 0]
    joined = link(volume, iou_threshold=0.4, split_share=0.6, splits="join")
    assert ids(joined) == [(0, 1, 1), (1, 1, 1), (1, 2, 1), (1, 3, 2), (2, 1, 1), (2, 9, 1)]
    assert link(volume, iou_threshold=0.4, split_share=0.5)["n_splits"].tolist() == [2, 0, 0, 0, 0, 0]


def test_a_piece_that_found_its_cell_across_a_gap_is_no_split() -> None:
    volume = rows([1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 2, 2])
    assert link(volume)["n_splits"].tolist() == [0, 0, 1, 0, 0]
    bridged = link(volume, max_gap=1)
    assert ids(bridged) == [(0, 1, 1), (0, 2, 2), (1, 1, 1), (2, 1, 1), (2, 2, 2)]
    assert bridged["n_splits"].sum() == bridged["n_merges"].sum() == 0


def test_a_gap_is_bridged_by_cells_that_nothing_nearer_is_linked_to() -> None:
    volume = rows([1, 1, 2, 2], [0, 0, 2, 2], [0, 0, 0, 0], [1, 1, 2, 2])
    ends = {0: [1, 2, 2, 3, 4], 1: [1, 2, 2, 3, 2], 2: [1, 2, 2, 1, 2]}
    for max_gap, expected in ends.items():
        assert link(volume, max_gap=max_gap)["cell_id"].tolist() == expected


def test_planes_missing_from_the_stack_count_as_gaps_but_neighbours_are_linked() -> None:
    volume = rows([1, 0], [0, 2], [1, 2])
    assert link(volume, [0, 4, 8], max_gap=6)["cell_id"].tolist() == [1, 2, 3, 2]
    assert link(volume, [0, 4, 8], max_gap=7)["cell_id"].tolist() == [1, 2, 1, 2]
    apart = link(volume, [0, 4, 8], z_step_um=0.5, max_distance_um=1.9)
    assert apart["cell_id"].tolist() == [1, 2, 3, 4]
    assert link(volume, [0, 4, 8], z_step_um=0.1, max_distance_um=0.4)["cell_id"].tolist() == [1, 2, 3, 2]


def test_a_plane_without_cells_ends_every_object() -> None:
    cells, none = row(1, 1, 0, 2), row(0, 0, 0, 0)
    links = link(np.stack([none, cells, none, cells, cells, none]))
    assert ids(links) == [(1, 1, 1), (1, 2, 2), (3, 1, 3), (3, 2, 4), (4, 1, 3), (4, 2, 4)]


@pytest.mark.parametrize("volume", [np.zeros((3, 4, 4), np.uint32), np.zeros((1, 4, 4), np.uint32)])
def test_a_stack_of_planes_without_cells_gives_no_rows(volume: Labels) -> None:
    links = link(volume, rule="optimal", splits="join", max_gap=1)
    assert len(links) == 0
    assert links.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64", "int32", "int32"]
    assert drop_short(links, 2)[1] == 0


def test_a_single_plane_gives_an_object_for_each_cell() -> None:
    assert ids(link(np.stack([row(0, 5, 2)]))) == [(0, 2, 1), (0, 5, 2)]


def test_objects_in_few_planes_are_dropped_and_the_others_renumbered() -> None:
    links = link(rows([1, 2, 0], [0, 2, 3], [0, 2, 3]))
    kept, n_dropped = drop_short(links, 2)
    assert n_dropped == 1
    assert ids(kept) == [(0, 2, 1), (1, 2, 1), (1, 3, 2), (2, 2, 1), (2, 3, 2)]
    assert drop_short(links, 4)[1] == 3
    pd.testing.assert_frame_equal(drop_short(links, 1)[0], links)


def test_planes_of_different_shape_are_named() -> None:
    planes = [plane(0, row(1, 1)), plane(5, row(1, 1, 1))]
    with pytest.raises(StackError, match="plane 0 is 1 × 2 px and plane 5 is 1 × 3 px"):
        link_stack(planes, {}, StitchSettings())


def test_a_repeated_z_index_is_named() -> None:
    with pytest.raises(StackError, match="two planes have z_index 4"):
        link_stack([plane(4, row(1)), plane(4, row(1))], {}, StitchSettings())


def test_no_planes_are_no_stack() -> None:
    with pytest.raises(StackError, match="no planes"):
        link_stack([], {}, StitchSettings())


@pytest.mark.parametrize("cell_ids", [[1, 2], [1, 7], []])
def test_overlaps_of_a_cell_that_the_plane_has_not_are_refused(cell_ids: list[int]) -> None:
    overlaps = {(0, 1): overlaps_of(row(3, 3), row(1, 1))}
    below = PlaneCells(0, (1, 2), np.array(cell_ids, np.int64), np.ones(len(cell_ids), np.int64))
    with pytest.raises(StackError, match="plane 0 overlaps with a cell 3 that its table"):
        link_stack([below, plane(1, row(1, 1))], overlaps, StitchSettings())
