import re
from typing import Any

import pytest

from cohortseg.report import summarise
from cohortseg.report.findings import find_problems


def warnings_of(samples: list[Any]) -> dict[str, str]:
    table = summarise(samples)
    return {name: text for name, text in zip(table["sample"], table["warnings"], strict=True) if text}


@pytest.fixture
def calm(made: Any) -> list[Any]:
    return [made.ok(f"calm{i}", made.cells(1000 + 30 * i, 20 + 0.2 * i)) for i in range(8)]


def test_an_even_cohort_has_no_warnings(calm: list[Any]) -> None:
    assert warnings_of(calm) == {}


@pytest.mark.parametrize(("n_cells", "text"), [(90, "far fewer cells"), (9000, "far more cells")])
def test_far_fewer_or_more_cells_than_the_peers_are_named_with_both_numbers(
    made: Any, calm: list[Any], n_cells: int, text: str
) -> None:
    found = warnings_of([*calm, made.ok("odd", made.cells(n_cells))])
    assert list(found) == ["odd"]
    assert text in found["odd"]
    assert f"{n_cells:,} per Mpx" in found["odd"]
    assert re.search(r"median 1,\d\d\d$", found["odd"])


@pytest.mark.parametrize(("diameter", "text"), [(60.0, "much larger"), (6.0, "much smaller")])
def test_cells_of_another_size_are_named(made: Any, calm: list[Any], diameter: float, text: str) -> None:
    found = warnings_of([*calm, made.ok("odd", made.cells(1100, diameter))])
    assert list(found) == ["odd"]
    assert text in found["odd"]


def test_a_sample_is_compared_within_its_modality_only(made: Any, calm: list[Any]) -> None:
    sections = [made.ok(f"section{i}", made.cells(90, 60), modality="histology") for i in range(7)]
    assert warnings_of([*calm, *sections]) == {}


def test_a_handful_of_samples_is_too_few_to_call_one_of_them_odd(made: Any, calm: list[Any]) -> None:
    assert warnings_of([*calm[:4], made.ok("odd", made.cells(20))]) == {}


def test_a_very_even_cohort_does_not_cry_wolf(made: Any) -> None:
    same = [made.ok(f"same{i}", made.cells(1000)) for i in range(8)]
    assert warnings_of([*same, made.ok("nearly", made.cells(1500))]) == {}
    assert list(warnings_of([*same, made.ok("odd", made.cells(2500))])) == ["odd"]


def test_many_cells_on_the_edge_and_poor_agreement_are_named(made: Any) -> None:
    poor = made.ok("poor", made.cells(30, edge=20), evaluation=made.counts(2, 10, 2))
    assert (
        warnings_of([poor])["poor"]
        == "agrees poorly with its ground truth: AP@0.5 0.20; 67% of the cells touch the edge"
    )


def test_cells_that_are_larger_than_a_tile_sees_are_never_silent(made: Any) -> None:
    cut = made.ok("cut", made.cells(30), metadata={"shape": [100, 100], "counts": {"cells_cut": 2}})
    assert warnings_of([cut])["cut"].startswith("2 cells larger than the tiles see")


def test_marks_of_tile_borders_are_never_silent(made: Any) -> None:
    for passed, named, shown in ((False, True, "failed"), (True, False, "passed"), (None, False, "not judged")):
        metadata = {"shape": [100, 100], "seam_audit": {"passed": passed, "findings": []}}
        sample = made.ok("a", made.cells(30), metadata=metadata)
        assert ("borders of tiles left marks" in warnings_of([sample]).get("a", "")) == named
        assert list(summarise([sample])["seam_audit"]) == [shown]
    assert list(summarise([made.missing("b")])["seam_audit"]) == [""]


def test_a_few_cells_on_the_edge_of_a_small_image_are_fine(made: Any) -> None:
    assert warnings_of([made.ok("small", made.cells(4, edge=4))]) == {}


def test_failed_and_missing_samples_are_not_warned_about(made: Any) -> None:
    assert warnings_of([made.failed("a"), made.missing("b")]) == {}


def test_no_cells_at_all_worry_most(made: Any, calm: list[Any]) -> None:
    table = summarise([*calm, made.ok("odd", made.cells(20)), made.ok("none", made.cells(0))])
    weights = [max((finding.weight for finding in here), default=0) for here in find_problems(table)]
    assert weights[-1] == max(weights)
    assert weights[-2] > weights[0] == 0
