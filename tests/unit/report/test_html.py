import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from cohortseg.report import StackResult, render_report

HOSTILE = '<script>alert("1")</script>&'


class Page(HTMLParser):
    """Reads what the tests ask about: elements, their text, and whether tags nest."""

    VOID = frozenset({"meta", "img", "input", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in {"td", "th", "dt", "dd"}:
            self.words += " "

    def handle_data(self, data: str) -> None:
        if not {"script", "style", "svg"} & set(self.open):
            self.words += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", self.words)


@pytest.fixture(scope="module")
def samples(made: Any) -> list[Any]:
    return [
        *(made.ok(f"calm{i}", made.quality(1000 + 30 * i)) for i in range(8)),
        made.ok("none", made.quality(0)),
        made.ok("odd", made.quality(40)),
        made.failed(
            "cut",
            rule="segment",
            error="ImageError",
            found="cut.tif ends early",
            expected="a whole file",
            remedy="Copy it again.",
            log="logs/segment/cut.log",
        ),
        made.failed(
            "short",
            rule="segment",
            error="ImageError",
            found="short.tif ends early",
            expected="a whole file",
            remedy="Copy it again.",
        ),
        made.missing("later"),
    ]


@pytest.fixture(scope="module")
def html(made: Any, samples: list[Any]) -> str:
    return render_report(made.cohort(*samples, stacks=(made.stack("brain", [2]),)))


@pytest.fixture
def page(html: str) -> Page:
    return Page(html)


def test_failures_come_first_then_what_looks_wrong_then_the_rest(page: Page) -> None:
    text = page.text
    order = [
        "10 of 13 images finished, 2 failed, 1 without results, 2 worth a look",
        "cut.tif ends early",
        "later",
        "no cells were found",
        "far fewer cells",
        "Without JavaScript",
        "Cells per megapixel",
        "cohortseg 0.1.0",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_failures_with_one_remedy_stand_together_with_message_and_log(page: Page) -> None:
    text = page.text
    assert "2 × ImageError in segment Copy it again." in text
    assert "cut: cut.tif ends early; a whole file log: logs/segment/cut.log" in text
    assert text.count("Copy it again.") == 1


def test_an_error_that_is_not_ours_shows_its_message(made: Any) -> None:
    text = Page(
        render_report(made.cohort(made.failed("a", rule="quantify", error="OSError", message="disk full")))
    ).text
    assert "1 × OSError in quantify" in text
    assert "a: disk full" in text


def test_a_failure_without_any_message_still_shows(made: Any) -> None:
    assert "a: No message was left" in Page(render_report(made.cohort(made.failed("a")))).text


def test_a_stack_that_was_not_stitched_is_a_failure(made: Any) -> None:
    stack = StackResult(
        "brain", None, None, None, None, {"rule": "stitch", "error": "StackError", "found": "plane 3 is smaller"}
    )
    text = Page(render_report(made.cohort(made.ok("a", made.quality(3)), stacks=(stack,)))).text
    assert "stack brain: plane 3 is smaller" in text
    assert "Not stitched" in text


def test_stacks_show_objects_and_how_many_planes_they_span(made: Any) -> None:
    stack = made.stack("brain", [1, 3, 3, 5], made.png)
    text = Page(render_report(made.cohort(made.ok("a", made.quality(3)), stacks=(stack,)))).text
    assert "3D objects in 1 stack 4" in text
    assert "4 objects; median volume 900 px; mean IoU between planes 0.80; 25 % lie on one plane only." in text
    assert "1 1 3 2 5 1" in text


def test_stacks_show_how_their_planes_were_linked(made: Any) -> None:
    stack = made.stack("brain", [1, 3, 3, 5], through_z_png=lambda: made.png(1000))
    html = render_report(made.cohort(made.ok("a", made.quality(3)), stacks=(stack,)))
    text = Page(html).text
    assert "Links: 2, by the rule best with an IoU of at least 0.5." in text
    assert "Splits of cells from plane to plane: 3, merges: 4." in text
    assert "Objects that miss planes between their first and last: 1. Dropped for fewer than 2 planes: 9." in text
    assert "plane 1: the share of objects that end here differs" in text
    for title in ("IoU of links of brain", "Where objects begin and end of brain"):
        assert f'aria-label="{title}"' in html
    assert 'alt="Cells of brain through z"' in html


def test_an_empty_stack_is_shown_as_such(made: Any) -> None:
    assert "0 objects" in Page(render_report(made.cohort(stacks=(made.stack("brain", []),)))).text


def data_of(html: str) -> dict[str, Any]:
    """Return the data in the page by the ids of their elements."""
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', html, re.S)
    return {name: json.loads(text) for name, text in found}


def test_every_sample_is_in_the_data_the_worst_first(html: str, samples: list[Any]) -> None:
    rows = data_of(html)["index"]["rows"]
    assert len(rows) == len(samples)
    assert [row["sample"] for row in rows][:6] == ["cut", "short", "later", "none", "odd", "calm0"]
    assert [row["verdict"] for row in rows][:6] == ["failed", "failed", "missing", "look", "look", "ok"]
    odd = rows[4]
    assert (odd["n_cells"], odd["median_diameter_px"], odd["seconds"]) == (40, 20, 4)
    assert rows[2]["n_cells"] is None
    assert "far fewer cells" in odd["warnings"][0]


def test_every_sample_has_its_details_in_the_same_order(made: Any) -> None:
    cell = {"cell_id": 4, "kind": "good", "why": "score 5.00", "x": 1.0, "y": 2.0, "window_px": 60}
    quality = made.quality(300, name="DAPI", shift_px=[1.0, -2.0])
    quality["crops"]["cells"] = [cell]
    strip = made.png(128)
    own = made.ok("a", made.quality(200)).metadata | {"settings": {"diameter": 40, "pipeline": {"infer_size": 512}}}
    usual = own | {"settings": {"diameter": 20, "pipeline": {"infer_size": 512}}}
    others = [made.ok(f"b{i}", made.quality(200), metadata=usual) for i in range(3)]
    html = render_report(made.cohort(made.ok("a", quality, metadata=own, crops_png=lambda: strip), *others))
    data = data_of(html)
    place = [row["sample"] for row in data["index"]["rows"]].index("a")
    found = data[f"details-{place}"]
    assert found["preview"][0].startswith("data:image/jpeg;base64,")
    assert found["crops"][0].startswith("data:image/jpeg;base64,")
    assert found["cells"] == [cell]
    assert found["settings"] == [["diameter", "40", "20"]]
    assert found["stages"] == [["read", 1.0, 2e8], ["forward", 3.0, 5e8]]
    assert found["channels"][0]["shift_px"] == [1.0, -2.0]
    assert ["network", "nuclei-mini"] in found["provenance"]
    assert ["cells.parquet", "../a/cells.parquet", "measurements, a row for each cell"] in found["files"]
    pooled = data["index"]["pooled"]["diameter_px"]
    assert sum(pooled["counts"]) == 900
    assert sum(found["histograms"]["diameter_px"]) == 300
    assert len(pooled["edges"]) == len(pooled["counts"]) + 1


def test_ground_truth_is_told_by_model_and_modality(made: Any) -> None:
    counts = made.counts(7, 10, 7), made.counts(9, 10, 9), made.counts(5, 10, 20)
    kinds = "fluorescence", "fluorescence", "histology"
    samples = [
        made.ok(f"s{i}", made.quality(9), modality=kind, evaluation=each)
        for i, (each, kind) in enumerate(zip(counts, kinds, strict=True))
    ]
    html = render_report(made.cohort(*samples))
    # images, AP@0.5, AP@0.75, AP@0.9, mean AP ... true cells, count error, splits, merges
    assert "nuclei-mini all 3 0.600 0.600 0.600 0.600" in Page(html).text
    assert "nuclei-mini fluorescence 2 0.800 0.800 0.800 0.800" in Page(html).text
    assert "20 -4 2 4" in Page(html).text
    assert 'aria-label="Average precision over IoU thresholds"' in html
    assert "evaluation.tsv" in html


def test_without_ground_truth_there_is_no_such_section(made: Any) -> None:
    assert "Ground truth" not in Page(render_report(made.cohort(made.ok("a", made.quality(3))))).text


def test_names_messages_and_settings_cannot_inject_markup(made: Any) -> None:
    sample = made.ok(HOSTILE, made.quality(0, name=HOSTILE), modality=HOSTILE)
    data = made.cohort(sample, made.failed(HOSTILE, found=HOSTILE, remedy=HOSTILE, log=HOSTILE), model=HOSTILE)
    hostile = render_report(data)
    assert 'alert("1")</script>' not in hostile
    kinds = [attributes.get("type") for tag, attributes in Page(hostile).elements if tag == "script"]
    assert kinds == ["application/json"] * 3 + [None]
    assert data_of(hostile)["index"]["rows"][0]["sample"] == HOSTILE


def test_the_page_fetches_nothing_and_forbids_itself_to(page: Page) -> None:
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for tag, attributes in page.elements:
        source = attributes.get("src", "data:")
        assert tag != "link"
        assert source is not None
        assert source.startswith("data:")
        assert not str(attributes.get("href", "#")).startswith("http")


def test_tags_nest_and_links_inside_the_page_lead_somewhere(page: Page) -> None:
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    inside = [str(a["href"])[1:] for tag, a in page.elements if tag == "a" and str(a["href"]).startswith("#")]
    assert set(inside) <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_stack_shows_its_projection_with_its_file(made: Any) -> None:
    html = render_report(made.cohort(stacks=(made.stack("brain", [2], made.png),)))
    assert "../stacks/brain/projection.png" in [attributes.get("href") for _, attributes in Page(html).elements]
    assert "3D cells of brain as seen from the first plane" in html


def test_the_same_results_give_the_same_bytes(made: Any, samples: list[Any], html: str) -> None:
    assert render_report(made.cohort(*samples, stacks=(made.stack("brain", [2]),))) == html


def test_pictures_are_read_one_at_a_time_and_only_while_there_is_room(made: Any) -> None:
    picture = made.png(384)
    read: list[str] = []

    def reader(name: str) -> Any:
        return lambda: read.append(name) or picture

    samples = [made.ok(f"s{i}", made.quality(900), preview_png=reader(f"s{i}")) for i in range(300)]
    odd = made.ok("odd", made.quality(20), preview_png=reader("odd"))
    html = render_report(made.cohort(*samples, odd))
    assert read[0] == "odd", "what deserves a look is first"
    assert len(read) == len(set(read)) < 301
    assert "left out to keep the report small" in html
    assert len(html) < 20_000_000


def test_a_calm_cohort_says_that_nothing_stands_out(made: Any) -> None:
    assert "Nothing stands out" in Page(render_report(made.cohort(made.ok("a", made.quality(30))))).text


def test_a_cohort_without_samples_is_a_page_too(made: Any) -> None:
    assert "0 of 0 images finished" in Page(render_report(made.cohort())).text
