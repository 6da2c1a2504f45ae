"""Batches hold what belongs together, and no more than they may."""

from hypothesis import given
from hypothesis import strategies as st

from cohortseg.tiling.batches import plan_batches


def test_images_fill_batches_in_order() -> None:
    assert plan_batches([([name], 2) for name in "abcde"]) == [("a", "b"), ("c", "d"), ("e",)]


def test_a_group_is_never_parted() -> None:
    assert plan_batches([(["a"], 3), (["b", "c", "d"], 3), (["e"], 3)]) == [("a",), ("b", "c", "d"), ("e",)]
    assert plan_batches([(["a", "b", "c", "d"], 3)]) == [("a", "b", "c", "d")], "a batch of its own"


def test_numbers_do_not_mix() -> None:
    assert plan_batches([(["a"], 2), (["b"], 5), (["c"], 2), (["d"], 5)]) == [("a", "c"), ("b", "d")]


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from([2, 4])), max_size=30))
def test_every_image_is_in_one_batch_and_a_longer_cohort_begins_alike(sizes: list[tuple[int, int]]) -> None:
    groups = [([f"{i}.{j}" for j in range(size)], most) for i, (size, most) in enumerate(sizes)]
    batches = plan_batches(groups)
    assert sorted(name for batch in batches for name in batch) == sorted(name for names, _ in groups for name in names)
    largest = max((size for size, _ in sizes), default=0)
    assert all(len(batch) <= max(4, largest) for batch in batches)
    shorter = plan_batches(groups[:-1])
    assert all(batch == more[: len(batch)] for batch, more in zip(shorter, batches, strict=False))
