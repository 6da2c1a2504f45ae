"""The report in a browser: nothing is fetched, everything is reached by keyboard, and all of it can be read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from cohortseg.report import render_report

HOSTILE = '<script>alert("1")</script>&\'" ünï ☃ ' + "long" * 60
OpenPage = Callable[..., Page]


def png(height: int, width: int) -> bytes:
    """Return a picture of smooth noise, as those of cells are."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    encoded: bytes = cv2.imencode(".png", cv2.resize(coarse, (width, height)))[1].tobytes()
    return encoded


def cohort(made: Any, number: int) -> Any:
    """Return a cohort of so many finished samples with all their pictures, and one each that failed and is missing."""
    preview, crops, quality = png(512, 512), png(128, 1280), made.quality(900)
    kinds = ["good"] * 5 + ["doubtful"] * 5
    quality["crops"]["cells"] = [
        {"cell_id": i + 1, "kind": kind, "why": "score 0.98, flow error 0.02", "x": 9.0, "y": 9.0, "window_px": 60}
        for i, kind in enumerate(kinds)
    ]
    poor = made.quality(5)
    pictures = {"preview_png": lambda: preview, "crops_png": lambda: crops}
    samples = [made.ok(f"image_{i}", quality if i % 10 else poor, **pictures) for i in range(number)]
    said = {"rule": "segment", "error": "ImageError", "found": "cut.tif ends early", "remedy": "Copy it again."}
    stack = made.stack("brain", [1, 3, 3], lambda: png(600, 600), lambda: png(600, 1200))
    return made.cohort(*samples, made.failed("cut", **said), made.missing("later"), stacks=(stack,))


@pytest.fixture(scope="module")
def page_of(made: Any, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenPage]:
    """Return what opens the report of a cohort, by its number of samples or as it is, and fails on any error."""
    files: dict[int, Path] = {}
    folder = tmp_path_factory.mktemp("pages")

    def write(data: Any) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.html"
        path.write_text(render_report(data), encoding="utf-8")
        return path

    def open_page(what: Any, *, width: int = 1280, scheme: Any = "light", script: bool = True) -> Page:
        if isinstance(what, int) and what not in files:
            files[what] = write(cohort(made, what))
        path = files[what] if isinstance(what, int) else write(what)
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.add(request.url))
        asked.add(path.as_uri())
        page.goto(path.as_uri())
        opened.append((page, path))
        return page

    wrong: list[str] = []
    asked: set[str] = set()
    opened: list[tuple[Page, Path]] = []
    yield open_page
    for page, _ in opened:
        page.context.close()
    outside = {url for url in asked if not url.startswith("data:")} - {path.as_uri() for _, path in opened}
    assert wrong == [], "errors in the console"
    assert outside == set(), "requests beyond the page"


def shown(page: Page) -> list[str]:
    return page.locator("#list .name").all_inner_texts()


@pytest.mark.parametrize(("number", "most_mb"), [(5, 4), (200, 20), (2000, 40)])
def test_cohorts_of_any_size_open_and_stay_small(page_of: OpenPage, number: int, most_mb: int) -> None:
    page = page_of(number)
    size = Path(page.url.removeprefix("file://")).stat().st_size
    assert size < most_mb * 1_000_000
    assert page.locator("#count").inner_text().replace("\u202f", "") == f"{number + 2} of {number + 2} images"
    assert page.locator("#list .card").count() == min(24, number + 2)
    page.locator("#search").fill(f"image_{number - 1}")
    page.get_by_role("button", name=f"Details of image_{number - 1}", exact=True).click()
    assert page.locator("dialog .crops li").count() == 10
    assert page.locator("dialog .crops li strong").all_inner_texts()[0] == "cell 1"
    assert page.locator("dialog svg").count() == 3
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.keyboard.press("Escape")
    page.locator("#search").fill("")
    assert all(url.startswith("data:") for url in requests)


def test_images_are_found_filtered_sorted_and_paged(page_of: OpenPage) -> None:
    page = page_of(200)
    assert shown(page)[:3] == ["cut", "later", "image_0"]
    page.locator("#verdict").select_option("failed")
    assert shown(page) == ["cut"]
    page.locator("#verdict").select_option("look")
    assert page.locator("#count").inner_text() == "20 of 202 images"
    page.locator("#search").fill("FAR FEWER")
    assert page.locator("#list .card").count() == 20
    page.locator("#search").fill("ends early")
    assert page.locator("#list").inner_text() == "No image matches."
    page.locator("#verdict").select_option("")
    page.locator("#search").fill("")
    page.locator("#sort").select_option("sample")
    assert shown(page)[:3] == ["cut", "image_0", "image_1"]
    page.locator("#turn").click()
    assert shown(page)[0] == "later"
    page.get_by_role("button", name="Next page").click()
    assert "page 2 of 9" in page.locator("#pages").inner_text()
    page.locator("#view").select_option("table")
    assert page.locator("#sample-table tbody tr").count() == 50
    page.get_by_role("button", name="Cells", exact=True).click()
    cells = page.locator("#sample-table tbody tr td:nth-child(5)").all_inner_texts()
    assert cells[0] == "900"
    page.get_by_role("button", name="Last page").click()
    assert page.locator("#sample-table tbody tr").last.locator("td").nth(4).inner_text() == "–"


def test_details_open_by_keyboard_turn_and_give_the_focus_back(page_of: OpenPage) -> None:
    page = page_of(5)
    page.locator("#sort").select_option("sample")
    page.get_by_role("button", name="Details of image_1").focus()
    page.keyboard.press("Enter")
    assert page.locator("#details-title").inner_text() == "image_1"
    assert page.url.endswith("#image=image_1")
    page.keyboard.press("ArrowRight")
    assert page.locator("#details-title").inner_text() == "image_2"
    for _ in range(30):
        page.keyboard.press("Tab")
        inside = page.evaluate(
            """() => { const e = document.activeElement;
            return e === document.body || document.querySelector("dialog").contains(e); }"""
        )
        assert inside, "the focus stays in the dialog"
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate("document.activeElement.textContent") == "image_1"
    assert "#image" not in page.url


def test_a_link_opens_the_image_that_it_names(page_of: OpenPage) -> None:
    page = page_of(5)
    page.goto(page.url + "#image=image_3")
    page.wait_for_selector("dialog[open]")
    assert page.locator("#details-title").inner_text() == "image_3"


def test_every_control_is_reached_by_tab_named_and_shows_its_focus(page_of: OpenPage) -> None:
    page = page_of(5)
    controls = "a[href], button:not([disabled]):not([tabindex='-1']), input, select, summary, [tabindex='0']"
    expected = page.evaluate(f"[...document.querySelectorAll(`{controls}`)].filter((e) => e.checkVisibility()).length")
    seen = set()
    for _ in range(expected):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(e);
            const labels = e.labels && e.labels[0] && e.labels[0].textContent.trim();
            const label = e.getAttribute("aria-label") || e.textContent.trim() || labels;
            const place = [...document.querySelectorAll("*")].indexOf(e);
            return [place, label, s.outlineStyle, parseFloat(s.outlineWidth)]; }"""
        )
        seen.add(found[0])
        assert found[1], "a control without a name"
        assert found[2] != "none"
        assert found[3] >= 2
    assert len(seen) == expected


CONTRASTS = """(root) => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  // As WCAG 2.2 defines relative luminance and contrast.
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ({ r, g, b }) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return { r: 255, g: 255, b: 255 };
  };
  const poor = [];
  for (const e of document.querySelectorAll(`${root} *`)) {
    const own = [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest("script, style, noscript, option, :disabled")) continue;
    const style = getComputedStyle(e), text = e.closest("svg") ? style.fill : style.color;
    if (!text.startsWith("rgb")) continue;
    const [a, b] = [light(parse(text)), light(ground(e))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push([e.tagName, e.className, e.textContent.slice(0, 40), ratio]);
  }
  return poor; }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page_of: OpenPage, scheme: str) -> None:
    page = page_of(5, scheme=scheme)
    assert page.evaluate(CONTRASTS, "body") == []
    page.locator("#view").select_option("table")
    assert page.evaluate(CONTRASTS, "#list") == []
    for name in ("image_0", "image_1", "cut"):
        page.get_by_role("button", name=f"Details of {name}").click()
        assert page.evaluate(CONTRASTS, "dialog") == []
        page.keyboard.press("Escape")


WIDTHS = """() => [document.scrollingElement.scrollWidth - innerWidth,
  ...[...document.querySelectorAll("dialog[open]")].map((e) => e.scrollWidth - e.clientWidth)]"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("named", ["image", HOSTILE])
def test_nothing_is_wider_than_the_window(page_of: OpenPage, made: Any, width: int, named: str) -> None:
    data = cohort(made, 3)
    odd = made.ok(named, made.quality(900, name=named), modality=named)
    odd.metadata["settings"] = {named: named}
    odd.metadata["image"] = named
    failed = made.failed(named + "2", rule=named, error=named, found=named, expected=named, remedy=named, log=named)
    page = page_of(made.cohort(*data.samples, odd, failed, stacks=data.stacks), width=width)
    for view in ("table", "cards"):
        page.locator("#view").select_option(view)
        assert max(page.evaluate(WIDTHS)) <= 0
    for name in (named, named + "2"):
        page.evaluate("(name) => openDetails(placeOf.get(name))", name)
        assert max(page.evaluate(WIDTHS)) <= 0
        assert page.locator("#details-title").inner_text() == " ".join(name.split())


def test_hostile_names_are_shown_as_text(page_of: OpenPage, made: Any) -> None:
    odd = made.ok(HOSTILE, made.quality(0, name=HOSTILE), modality=HOSTILE)
    page = page_of(made.cohort(odd, made.failed("bad", found=HOSTILE)))
    assert page.locator("script").count() == 4
    page.locator("#list .name", has_text="<script>").click()
    assert "<script>" in page.locator("dialog").inner_text()
    assert page.locator("dialog script").count() == 0


def test_without_script_the_main_things_can_be_read(page_of: OpenPage) -> None:
    page = page_of(5, script=False)
    text = page.locator("body").inner_text()
    for part in (
        "5 of 7 images finished",
        "cut.tif ends early",
        "Without JavaScript",
        "image_4",
        "Cells per megapixel",
    ):
        assert part in text
    assert page.locator("noscript table tbody tr").count() == 7
    assert not page.locator("#browser").is_visible()


def test_a_crop_is_cut_out_of_its_strip_at_its_place(page_of: OpenPage, made: Any) -> None:
    strip = np.zeros((128, 512, 3), np.uint8)
    for i, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))):
        strip[:, 128 * i : 128 * (i + 1)] = colour
    file = cv2.imencode(".png", strip[..., ::-1])[1].tobytes()
    quality = made.quality(900)
    quality["crops"]["cells"] = [
        {"cell_id": i, "kind": kind, "why": "x", "x": 1.0, "y": 1.0, "window_px": 60}
        for i, kind in enumerate(("good", "good", "doubtful", "doubtful"))
    ]
    page = page_of(made.cohort(made.ok("a", quality, crops_png=lambda: file)))
    page.get_by_role("button", name="Details of a").click()
    page.evaluate("Promise.all(Array.from(document.querySelectorAll('dialog .crop img'), (image) => image.decode()))")
    seen = []
    for crop in page.locator("dialog .crop").all():
        pixels = cv2.imdecode(np.frombuffer(crop.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        inner = pixels[10:-10, 10:-10].reshape(-1, 3)
        assert np.ptp(inner, axis=0).max() < 12, "one tile alone"
        seen.append(tuple((inner.mean(axis=0)[::-1] > 128).tolist()))
    assert seen == [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]
