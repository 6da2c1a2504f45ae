import re
from typing import Any

import pytest

from cohortseg.report import summarise
from cohortseg.settings import QcSettings

QC = QcSettings()


def warnings_of(samples: list[Any]) -> dict[str, str]:
    table = summarise(samples, QC)[0]
    return {name: text for name, text in zip(table["sample"], table["warnings"], strict=True) if text}


@pytest.fixture
def calm(made: Any) -> list[Any]:
    return [made.ok(f"calm{i}", made.quality(1000 + 30 * i, 20 + 0.2 * i)) for i in range(8)]


def test_an_even_cohort_has_no_warnings(calm: list[Any]) -> None:
    assert warnings_of(calm) == {}


@pytest.mark.parametrize(("n_cells", "text"), [(90, "far fewer cells"), (9000, "far more cells")])
def test_far_fewer_or_more_cells_than_the_peers_are_named_with_both_numbers(
    made: Any, calm: list[Any], n_cells: int, text: str
) -> None:
    found = warnings_of([*calm, made.ok("odd", made.quality(n_cells))])
    assert list(found) == ["odd"]
    assert text in found["odd"]
    assert f"{n_cells:,} per Mpx" in found["odd"]
    assert re.search(r"median 1,\d\d\d$", found["odd"])


@pytest.mark.parametrize(("diameter", "text"), [(60.0, "much larger"), (6.0, "much smaller")])
def test_cells_of_another_size_are_named(made: Any, calm: list[Any], diameter: float, text: str) -> None:
    found = warnings_of([*calm, made.ok("odd", made.quality(1100, diameter))])
    assert list(found) == ["odd"]
    assert text in found["odd"]


def test_a_sample_is_compared_within_its_modality_only(made: Any, calm: list[Any]) -> None:
    sections = [made.ok(f"section{i}", made.quality(90, 60), modality="histology") for i in range(7)]
    assert warnings_of([*calm, *sections]) == {}


def test_a_handful_of_samples_is_too_few_to_call_one_of_them_odd(made: Any, calm: list[Any]) -> None:
    assert warnings_of([*calm[:4], made.ok("odd", made.quality(20))]) == {}


def test_a_very_even_cohort_does_not_cry_wolf(made: Any) -> None:
    same = [made.ok(f"same{i}", made.quality(1000)) for i in range(8)]
    assert warnings_of([*same, made.ok("nearly", made.quality(1500))]) == {}
    assert list(warnings_of([*same, made.ok("odd", made.quality(2500))])) == ["odd"]


def test_many_cells_on_the_edge_and_poor_agreement_are_named(made: Any) -> None:
    poor = made.ok("poor", made.quality(30, edge=20), evaluation=made.counts(2, 10, 2))
    assert (
        warnings_of([poor])["poor"]
        == "agrees poorly with its ground truth: AP@0.5 0.20; 67% of the cells touch the edge"
    )


def test_cells_that_are_larger_than_a_tile_sees_are_never_silent(made: Any) -> None:
    cut = made.ok("cut", made.quality(30), metadata={"shape": [100, 100], "counts": {"cells_cut": 2}})
    assert warnings_of([cut])["cut"].startswith("2 cells larger than the tiles see")


def test_marks_of_tile_borders_are_never_silent(made: Any) -> None:
    for passed, named, shown in ((False, True, "failed"), (True, False, "passed"), (None, False, "not judged")):
        metadata = {"shape": [100, 100], "seam_audit": {"passed": passed, "findings": []}}
        sample = made.ok("a", made.quality(30), metadata=metadata)
        assert ("borders of tiles left marks" in warnings_of([sample]).get("a", "")) == named
        assert list(summarise([sample], QC)[0]["seam_audit"]) == [shown]
    assert list(summarise([made.missing("b")], QC)[0]["seam_audit"]) == [""]


def test_a_few_cells_on_the_edge_of_a_small_image_are_fine(made: Any) -> None:
    assert warnings_of([made.ok("small", made.quality(4, edge=4))]) == {}


def test_failed_and_missing_samples_are_not_warned_about(made: Any) -> None:
    assert warnings_of([made.failed("a"), made.missing("b")]) == {}


def test_no_cells_at_all_worry_most(made: Any, calm: list[Any]) -> None:
    _, problems = summarise([*calm, made.ok("odd", made.quality(20)), made.ok("none", made.quality(0))], QC)
    weights = [max((finding.weight for finding in here), default=0) for here in problems]
    assert weights[-1] == max(weights)
    assert weights[-2] > weights[0] == 0


def channels_of(made: Any, sample: str, **channel: Any) -> Any:
    return made.ok(sample, made.quality(1000, **channel))


@pytest.fixture
def even(made: Any) -> list[Any]:
    """Return eight samples whose channel lies a little elsewhere, and is as sharp, as usual."""
    return [
        channels_of(made, f"even{i}", sharpness=1 + 0.02 * i, shift_px=[3 + 0.1 * i, -0.1 * i], shift_confidence=0.5)
        for i in range(8)
    ]


def test_channels_are_named_for_what_is_wrong_with_them(made: Any, even: list[Any]) -> None:
    assert warnings_of(even) == {}
    odd = {
        "blurred": {"sharpness": 0.4},
        "saturated": {"saturated_in_cells": 0.4},
        "shifted": {"shift_px": [3.0, 5.0], "shift_confidence": 0.5},
    }
    found = warnings_of([*even, *(channels_of(made, name, **channel) for name, channel in odd.items())])
    assert found == {
        "blurred": "channel DAPI is blurred: up to 2.6 times less sharp than in its peers",
        "saturated": "channel DAPI is saturated: up to 40.0% of the pixels in cells are at the top of the range",
        "shifted": "channel DAPI is shifted beside the segmented one by +3.0 px in y, +5.0 px in x, usually +3.3, -0.3",
    }


def test_sharper_than_the_peers_and_channels_of_other_names_are_fine(made: Any, even: list[Any]) -> None:
    others = [channels_of(made, "sharp", sharpness=9.0), channels_of(made, "other", name="CD45", sharpness=0.1)]
    assert warnings_of([*even, *others]) == {}


def test_a_shift_is_not_judged_where_it_is_not_known_or_has_no_peers(made: Any, even: list[Any]) -> None:
    far = channels_of(made, "far", shift_px=[30.0, 0.0], shift_confidence=0.5)
    assert warnings_of([*even[:4], far]) == {}
    assert list(warnings_of([*even, far, channels_of(made, "unknown")])) == ["far"]


def test_suspicious_tiles_and_drift_are_named(made: Any) -> None:
    tiles = {"side_px": 128, "n": 64, "empty": 9, "suspicious": 2}
    sample = made.ok("a", made.quality(100) | {"tiles": tiles}, metadata={"intensity_drift": 3.0})
    assert warnings_of([sample]) == {
        "a": "2 tiles have signal and neighbours with cells, but no cells; its range of intensities is 8 times wider "
        "than the cohort's"
    }


@pytest.mark.parametrize(
    ("channel", "qc", "stays"),
    [
        ({"sharpness": 0.5}, {"blur": 3}, False),
        ({"sharpness": 0.5}, {"far": 100}, False),
        ({"sharpness": 0.5}, {"min_peers": 20}, False),
        ({"sharpness": 0.5}, {}, True),
        ({"saturated_in_cells": 0.4}, {"saturated_share": 0.5}, False),
        ({"saturated_in_cells": 0.4}, {}, True),
        ({"shift_px": [3.0, 5.0]}, {"shift_px": 8}, False),
        ({"shift_px": [3.0, 5.0]}, {}, True),
    ],
)
def test_every_threshold_decides(made: Any, even: list[Any], channel: Any, qc: Any, stays: bool) -> None:
    table, _ = summarise([*even, channels_of(made, "odd", **channel)], QcSettings(**qc))
    assert dict(zip(table["sample"], table["verdict"], strict=True))["odd"] == ("look" if stays else "ok")


def test_the_thresholds_of_cells_decide(made: Any, calm: list[Any]) -> None:
    def verdict(sample: Any, **qc: Any) -> str:
        return str(summarise([*calm, sample], QcSettings(**qc))[0]["verdict"].iloc[-1])

    few, edge = made.ok("odd", made.quality(300)), made.ok("odd", made.quality(1000, edge=600))
    assert (verdict(few), verdict(few, fold=5)) == ("look", "ok")
    assert (verdict(edge), verdict(edge, edge_share=0.7), verdict(edge, min_cells=2000)) == ("look", "ok", "ok")
    poor = made.ok("odd", made.quality(1000), evaluation=made.counts(2, 10, 2))
    assert (verdict(poor), verdict(poor, poor_ap50=0.1)) == ("look", "ok")
    unsure, vague = made.quality(1000), made.quality(1000)
    unsure["cells"] = unsure["cells"] | {"score": unsure["cells"]["score"] | {"median": 0.5}}
    assert (verdict(made.ok("odd", unsure)), verdict(made.ok("odd", unsure), score_drop=0.6)) == ("look", "ok")
    vague["cells"] = vague["cells"] | {"flow_error": vague["cells"]["flow_error"] | {"median": 0.3}}
    assert (verdict(made.ok("odd", vague)), verdict(made.ok("odd", vague), fold=4)) == ("look", "ok")
    drifted = made.ok("odd", made.quality(1000), metadata={"intensity_drift": 3.0})
    assert (verdict(drifted), verdict(drifted, drift=3.5)) == ("look", "ok")
    tiles = made.ok("odd", made.quality(1000) | {"tiles": {"side_px": 9, "n": 9, "empty": 2, "suspicious": 2}})
    assert (verdict(tiles), verdict(tiles, suspicious_tiles=2)) == ("look", "ok")


def test_a_name_with_tabs_and_line_breaks_stays_on_its_line_of_the_table(made: Any) -> None:
    bad = channels_of(made, "a", name="=1\t2\n3", saturated_in_cells=0.9)
    (text,) = warnings_of([bad]).values()
    assert text.startswith("channel =1 2 3 is saturated")


def test_a_white_image_without_cells_is_told_for_having_none(made: Any) -> None:
    white = made.ok("white", made.quality(0, saturated_share=0.9))
    assert warnings_of([white]) == {"white": "no cells were found"}
    assert summarise([white], QC)[0]["saturated_share"].iat[0] == 0.9


def test_a_segmented_channel_whose_focus_noise_hides_is_named_where_that_of_its_peers_is_known(
    made: Any, even: list[Any]
) -> None:
    faint = channels_of(made, "faint", sharpness=None)
    text = "channel DAPI has too little signal beside its noise to judge its focus, unlike its peers"
    assert warnings_of([*even, faint]) == {"faint": text}
    assert warnings_of([*even, channels_of(made, "marker", sharpness=None, segmented=False)]) == {}
    others = [channels_of(made, f"faint{i}", sharpness=None) for i in range(3)]
    assert warnings_of([*even, faint, *others]) == {}, "usual in this cohort"
    assert warnings_of([*even[:5], faint]) == {}, "too few peers"
    few = made.ok("few", made.quality(9, sharpness=None))
    assert "focus" not in warnings_of([*even, few])["few"]
