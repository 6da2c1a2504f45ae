import re
from html.parser import HTMLParser
from typing import Any

import pytest

from cohortseg.report import StackResult, render_report
from cohortseg.report.pictures import BUDGET_BYTES

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
        *(made.ok(f"calm{i}", made.cells(1000 + 30 * i)) for i in range(8)),
        made.ok("none", made.cells(0)),
        made.ok("odd", made.cells(40)),
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
        "10 of 13 samples finished, 2 failed, 1 without results, 2 worth a look",
        "cut.tif ends early",
        "later",
        "no cells were found",
        "far fewer cells",
        "Cells per megapixel",
        "Click a heading",
        "8 samples in which nothing stands out",
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
    text = Page(render_report(made.cohort(made.ok("a", made.cells(3)), stacks=(stack,)))).text
    assert "stack brain: plane 3 is smaller" in text
    assert "Not stitched" in text


def test_stacks_show_objects_and_how_many_planes_they_span(made: Any) -> None:
    stack = made.stack("brain", [1, 3, 3, 5], made.png())
    text = Page(render_report(made.cohort(made.ok("a", made.cells(3)), stacks=(stack,)))).text
    assert "3D objects in 1 stack 4" in text
    assert "4 objects; median volume 900 px; mean IoU between planes 0.80; 25 % lie on one plane only." in text
    assert "1 1 3 2 5 1" in text


def test_stacks_show_how_their_planes_were_linked(made: Any) -> None:
    stack = made.stack("brain", [1, 3, 3, 5], through_z_png=made.png(1000))
    html = render_report(made.cohort(made.ok("a", made.cells(3)), stacks=(stack,)))
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


def test_every_sample_is_a_row_with_its_sort_values(page: Page, samples: list[Any]) -> None:
    table = page.text[page.text.index("Click a heading") :]
    assert all(sample.sample in table for sample in samples)
    values = [attributes["data-value"] for _, attributes in page.elements if "data-value" in attributes]
    assert len(values) == 9 * len(samples)
    assert "40" in values


def test_ground_truth_is_told_by_model_and_modality(made: Any) -> None:
    counts = made.counts(7, 10, 7), made.counts(9, 10, 9), made.counts(5, 10, 20)
    kinds = "fluorescence", "fluorescence", "histology"
    samples = [
        made.ok(f"s{i}", made.cells(9), modality=kind, evaluation=each)
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
    assert "Ground truth" not in Page(render_report(made.cohort(made.ok("a", made.cells(3))))).text


def test_names_messages_and_settings_cannot_inject_markup(made: Any) -> None:
    sample = made.ok(HOSTILE, made.cells(0), modality=HOSTILE)
    data = made.cohort(sample, made.failed(HOSTILE, found=HOSTILE, remedy=HOSTILE, log=HOSTILE), model=HOSTILE)
    hostile = render_report(data)
    assert 'alert("1")' not in hostile
    assert [tag for tag, _ in Page(hostile).elements].count("script") == 1


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


def test_each_picture_is_in_the_page_once_and_links_to_its_file(page: Page) -> None:
    assert [tag for tag, _ in page.elements].count("img") == 10
    assert "../odd/preview.png" in [attributes.get("href") for _, attributes in page.elements]


def test_the_same_results_give_the_same_bytes(made: Any, samples: list[Any], html: str) -> None:
    assert render_report(made.cohort(*samples, stacks=(made.stack("brain", [2]),))) == html


def test_a_cohort_of_hundreds_stays_small_with_its_calm_pictures_folded(made: Any) -> None:
    picture = made.png(512)
    data = made.cohort(*(made.ok(f"s{i}", made.cells(50), preview_png=picture) for i in range(400)))
    large = render_report(data)
    assert len(large) < BUDGET_BYTES + 2_000_000
    page = Page(large)
    folds = [attributes for tag, attributes in page.elements if tag == "details"]
    assert all("open" not in attributes for attributes in folds)
    assert all(a.get("loading") == "lazy" for tag, a in page.elements if tag == "img")


def test_a_calm_cohort_says_that_nothing_stands_out(made: Any) -> None:
    assert "Nothing stands out" in Page(render_report(made.cohort(made.ok("a", made.cells(30))))).text


def test_a_cohort_without_samples_is_a_page_too(made: Any) -> None:
    assert "0 of 0 samples finished" in Page(render_report(made.cohort())).text
