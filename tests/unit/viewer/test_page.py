"""The viewer's page in a browser, against the real server: outlines, hover, flags, planes, channels, keys, widths."""

import asyncio
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from playwright.sync_api import Browser, Page, expect
from skimage.measure import regionprops_table

from cohortseg.settings import RasteriseSettings
from cohortseg.steps.mask2poly import trace_mask
from cohortseg.steps.rasterise import rasterise_file
from cohortseg.steps.view_files import ResultsFolder
from cohortseg.stores.flags import read_flags
from cohortseg.viewer.server import ViewerServer

HOSTILE = "<img src=x onerror=window.hit=1>"
TOKEN = "a-token-of-the-tests"
SHAPE = (480, 640)


def draw_labels() -> np.ndarray:
    """Return labels, (480, 640): 1 a square, 2 a disc, 3 a ring around 4, 5 to 8 small discs in a row."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[60:120, 80:160] = 1
    cv2.circle(labels, (300, 200), 30, 2, -1)
    cv2.circle(labels, (480, 300), 50, 3, -1)
    cv2.circle(labels, (480, 300), 20, 4, -1)
    for i in range(4):
        cv2.circle(labels, (80 + 60 * i, 400), 14, 5 + i, -1)
    return labels


LABELS = draw_labels()


def make_sample(folder: Path, images: Path, bright: int) -> None:
    """Write the results of one sample; `bright`: the value of its cells in the first of two channels."""
    pixels = np.full((2, *SHAPE), 100, np.uint16)
    pixels[0][LABELS > 0] = bright
    pixels[1][LABELS == 2] = 5000
    pixels[:, 0, 0] = 20_000
    image = images / f"{bright}.ome.tif"
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(image, pixels, metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", HOSTILE]}, **size})
    tifffile.imwrite(images / "labels.tif", LABELS)
    trace_mask(images / "labels.tif", folder, plane=None, z_index=None, workers=1)
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata |= {"image": str(image), "pixel_size_um": 0.5, "normalisation": {"lower": [100], "upper": [10_000]}}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    rasterise_file(
        folder / "polygons.parquet", folder / "mask.zarr", RasteriseSettings(),
        shape=SHAPE, name=folder.name, pixel_size_um=0.5, workers=1,
    )  # fmt: skip
    found = regionprops_table(LABELS, pixels[0], properties=("label", "area", "centroid", "mean_intensity"))
    cells = pd.DataFrame(
        {
            "cell_id": found["label"].astype(np.int64),
            "area_px": found["area"].astype(np.int64),
            "area_um2": found["area"] * 0.25,
            "centroid_x": found["centroid-1"],
            "centroid_y": found["centroid-0"],
            "score": np.linspace(0.123456789, 3, 8),
            "flow_error": [np.nan, *np.linspace(0, 0.4, 7)],
            "mean_DAPI": found["mean_intensity"],
        }
    )
    cells.to_parquet(folder / "cells.parquet")


@dataclass
class Served:
    """A folder of results and where the page of it is."""

    results: Path
    url: str

    def flags(self) -> list[tuple[str, int, str, str]]:
        path = self.results / "cohort" / "flags.tsv"
        rows = read_flags(path) if path.is_file() else pd.DataFrame(columns=["sample", "cell_id", "flag", "note"])
        return [(row.sample, int(row.cell_id), row.flag, row.note) for row in rows.itertuples()]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("viewer")
    images, results = folder / "images", folder / "results"
    images.mkdir()
    for name, bright in (("a0", 10_000), ("a1", 7000), ("a2", 4000), ("single", 9000), ("moved", 8000)):
        make_sample(results / name, images, bright)
    (images / "8000.ome.tif").unlink()
    (results / "moved").rename(results / HOSTILE)
    shutil.copytree(results / "single", results / "without_mask")
    shutil.rmtree(results / "without_mask" / "mask.zarr")
    stack = results / "stacks" / "three"
    stack.mkdir(parents=True)
    planes = "".join(f"  - image_name: a{z}\n    z_index: {z}\n" for z in range(3))
    (stack / "configs.yml").write_text(f"stitch:\n{planes}")
    (results / "cohort").mkdir()
    header = "sample\tstatus\tn_cells\twarnings\n"
    (results / "cohort" / "summary.tsv").write_text(f"{header}a1\tok\t8\t<script>window.hit=1</script> is odd\n")
    with serving(results, folder) as url:
        yield Served(results, url)


class serving:  # noqa: N801 - used as a function
    """Serve results in a thread: the browser has an event loop in this one."""

    def __init__(self, results: Path, scratch: Path) -> None:
        self._results, self._scratch = results, scratch
        self._ready, self._port = threading.Event(), 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> str:
        self._thread.start()
        assert self._ready.wait(30)
        return f"http://127.0.0.1:{self._port}/"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with ThreadPoolExecutor(1) as background:
            server = ViewerServer(ResultsFolder(self._results, self._scratch, background), TOKEN)
            await server.serve(0, self._on_port, self._stop)

    def _on_port(self, port: int) -> None:
        self._port = port
        self._ready.set()


@dataclass
class Visit:
    """An open page, and what it asked for."""

    page: Page
    url: str
    asked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def go(self, hash_: str = "") -> None:
        self.page.goto(f"{self.url}?token={TOKEN}{hash_}")
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is loading and the view is at rest."""
        expect(self.page.locator("#stage")).to_have_attribute("aria-busy", "false")
        at_rest = "() => { const t = document.querySelector('#overlay g').getAttribute('transform');"
        at_rest += " const same = t && t === window.lastTransform; window.lastTransform = t; return same; }"
        self.page.wait_for_function(at_rest, polling=120)
        expect(self.page.locator("#stage")).to_have_attribute("aria-busy", "false")

    def transform(self) -> tuple[float, float, float]:
        """Return scale, x and y: an image's point is at scale * point + (x, y) of the canvas."""
        text = self.page.locator("#overlay g").first.get_attribute("transform") or ""
        scale, _, _, _, x, y = (float(each) for each in re.findall(r"-?[\d.e-]+", text))
        return scale, x, y

    def screen(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the image is on the page."""
        box = self.page.locator("#canvas").bounding_box()
        assert box is not None
        scale, left, top = self.transform()
        return box["x"] + scale * x + left, box["y"] + scale * y + top

    def asking(self, part: str) -> AbstractContextManager[Any]:
        """Return a context that ends once the page has asked for an address with this in it."""
        return self.page.expect_request(lambda request: part in request.url)

    def tiles(self, kind: str) -> list[tuple[str, dict[str, list[str]]]]:
        """Return the sample and the query of each tile that was asked for, "image" or "outlines"."""
        found = [urlsplit(url) for url in self.asked if f"/{kind}/" in url]
        return [(unquote(each.path.split("/")[3]), parse_qs(each.query)) for each in found]


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Callable[..., Visit]]:
    """Return what opens pages of results without flags; in the end they must not have had an error or left home."""
    (served.results / "cohort" / "flags.tsv").unlink(missing_ok=True)
    visits = []

    def open_page(hash_: str = "", **options: Any) -> Visit:
        page = browser.new_page(**({"viewport": {"width": 1280, "height": 800}} | options))
        made = Visit(page, served.url)
        page.on("request", lambda request: made.asked.append(request.url))
        page.on("pageerror", lambda error: made.faults.append(str(error)))
        page.on("console", lambda said: made.faults.append(said.text) if said.type == "error" else None)
        visits.append(made)
        made.go(hash_)
        return made

    yield open_page
    for made in visits:
        made.page.close()
        assert made.faults == []
        assert [url for url in made.asked if not url.startswith((served.url, "blob:"))] == []


def picture(page: Page) -> np.ndarray:
    """Return the image's part of the page, (y, x, RGB) int."""
    coded = np.frombuffer(page.locator("#canvas").screenshot(), np.uint8)
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1].astype(int)


def distance_to_edges(labels: np.ndarray) -> np.ndarray:
    """Return how far each pixel is, in pixels, from the next one that has a neighbour of another value."""
    padded = np.pad(labels, 1, mode="edge")
    others = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    edge = np.any([other != labels for other in others], axis=0)
    return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)


def test_the_outlines_lie_on_the_cells(visit: Callable[..., Visit]) -> None:
    opened = visit("#sample=a0&x=480&y=300&zoom=3")
    for part in ("#minimap", ".tools", "#scale"):  # they lie over the image
        opened.page.locator(part).evaluate("e => { e.style.visibility = 'hidden'; }")
    seen = picture(opened.page)
    yellow = seen[:, :, 0] - seen[:, :, 2] > 60
    scale, left, top = opened.transform()
    assert scale == pytest.approx(3, abs=1e-3)
    rows, columns = np.mgrid[: seen.shape[0], : seen.shape[1]]
    y, x = np.floor((rows + 0.5 - top) / scale).astype(int), np.floor((columns + 0.5 - left) / scale).astype(int)
    inside = (y >= 0) & (x >= 0) & (y < SHAPE[0]) & (x < SHAPE[1])
    distance = np.where(inside, distance_to_edges(LABELS)[y.clip(0, 479), x.clip(0, 639)], np.inf)
    assert (distance < 1).sum() > 3000  # there are outlines in sight
    assert distance[yellow].max() < 1.5
    # The far side of the next pixel, and one for where a browser rounds to.
    near = cv2.dilate(yellow.astype(np.uint8), np.ones((11, 11), np.uint8)).astype(bool)
    assert near[distance == 0].all()
    opened.page.keyboard.press("o")
    opened.settle()
    after = picture(opened.page)
    assert not (after[:, :, 0] - after[:, :, 2] > 60).any()
    opened.page.keyboard.press("o")
    opened.settle()
    np.testing.assert_array_equal(picture(opened.page), seen)


def test_pointing_at_a_cell_outlines_it_and_shows_its_measurements(visit: Callable[..., Visit], served: Served) -> None:
    opened = visit("#sample=a0")
    page = opened.page
    page.get_by_role("tab", name="Cell").click()
    page.mouse.move(*opened.screen(300, 200))
    expect(page.get_by_role("heading", name="Cell 2", exact=True)).to_be_visible()
    row = pd.read_parquet(served.results / "a0" / "cells.parquet").set_index("cell_id").loc[2]
    shown = page.locator("#panel-cell tr").evaluate_all("rows => rows.map(r => [r.dataset.column, r.cells[1].title])")
    assert {name: float(value) for name, value in shown} == row.to_dict()
    units = page.locator("#panel-cell tr").evaluate_all(
        "rows => rows.map(r => [r.dataset.column, r.cells[2].innerText])"
    )
    assert dict(units)["area_um2"] == "µm²"
    assert shown[0][0] == "area_um2"  # what matters is first
    assert page.locator("#where").inner_text() == "x 300, y 200 px · 150.0, 100.0 µm"
    assert page.locator("#pointed").inner_text() == "cell 2"
    # The outline is the polygon itself: it fills the pixels of the cell, and the ring leaves its hole.
    for cell, (x, y) in {2: (300, 200), 3: (480, 340)}.items():
        page.mouse.move(*opened.screen(x, y))
        expect(page.locator(".hovered")).to_have_attribute("data-cell", str(cell))
        inside = page.locator(".hovered").evaluate(
            """(path, [h, w]) => { const p = path.ownerSVGElement.createSVGPoint(), found = [];
            for (p.y = 0.5; p.y < h; p.y += 4) for (p.x = 0.5; p.x < w; p.x += 4) found.push(path.isPointInFill(p));
            return found; }""",
            list(SHAPE),
        )
        assert np.array_equal(np.reshape(inside, (120, 160)), LABELS[::4, ::4] == cell)
    page.mouse.move(*opened.screen(20, 20))
    expect(page.locator(".hovered")).to_have_attribute("d", "")
    # To the pixel: the corners of the square, from inside and from outside.
    opened.go("#sample=a0&x=120&y=90&zoom=8")
    for x, y, cell in ((80.5, 60.5, "1"), (79.5, 60.5, ""), (159.5, 119.5, "1"), (160.5, 119.5, ""), (120, 90, "1")):
        page.mouse.move(*opened.screen(x, y))
        expect(page.locator(".hovered")).to_have_attribute("data-cell", cell)


def test_a_cell_is_chosen_flagged_and_the_flag_taken_back(visit: Callable[..., Visit], served: Served) -> None:
    opened = visit("#sample=a0")
    page = opened.page
    page.keyboard.press("2")
    expect(page.locator("#said")).to_have_text(re.compile("Choose a cell first"))
    page.mouse.click(*opened.screen(80, 400))
    expect(page.get_by_role("heading", name="Cell 5", exact=True)).to_be_visible()
    page.keyboard.press("2")
    expect(page.locator("#said")).to_have_text("Cell 5: merged. Saved.")
    assert served.flags() == [("a0", 5, "merged", "")]
    mark = page.locator(".mark").bounding_box()
    assert mark is not None
    point = mark["x"] + mark["width"] / 2, mark["y"] + mark["height"]  # of the pin
    assert point == pytest.approx(opened.screen(80, 400), abs=3)
    page.keyboard.press("e")
    page.keyboard.type("two nuclei")
    page.keyboard.press("Enter")
    wait_for(lambda: served.flags() == [("a0", 5, "merged", "two nuclei")])
    page.keyboard.press("5")
    wait_for(lambda: served.flags() == [("a0", 5, "good", "two nuclei")])
    page.get_by_role("tab", name="Flags").click()
    expect(page.locator("#panel-flags li")).to_have_text(re.compile("good.*cell 5.*two nuclei", re.DOTALL))
    for flags in ([("a0", 5, "merged", "two nuclei")], [("a0", 5, "merged", "")], []):
        page.keyboard.press("Control+z")
        wait_for(lambda flags=flags: served.flags() == flags)  # type: ignore[misc]
    expect(page.locator(".mark")).to_have_count(0)


def wait_for(condition: Callable[[], bool], patience_s: float = 60) -> None:
    """Wait until a condition of this side holds."""
    waited = threading.Event()
    for _ in range(int(patience_s / 0.05)):
        if condition():
            return
        waited.wait(0.05)
    raise AssertionError("it did not come to be")


def test_a_flag_that_is_not_saved_is_told_kept_and_saved_later(visit: Callable[..., Visit], served: Served) -> None:
    opened = visit("#sample=single")
    page = opened.page
    page.mouse.click(*opened.screen(120, 90))
    expect(page.get_by_role("heading", name="Cell 1", exact=True)).to_be_visible()
    refuse = {"status": 500, "content_type": "application/json", "body": '{"error": "The disk is full."}'}
    page.route("**/flags", lambda route: route.fulfill(**refuse))
    page.keyboard.press("1")
    expect(page.locator("#unsaved")).to_contain_text("One flag is not saved: The disk is full.")
    assert served.flags() == []
    expect(page.locator(".mark")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save to a file").click()
    assert "single\t1\twrong" in download.value.path().read_text()
    page.unroute("**/flags")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#unsaved")).to_be_hidden()
    assert served.flags() == [("single", 1, "wrong", "")]
    page.keyboard.press("Delete")
    wait_for(lambda: served.flags() == [])
    assert opened.faults
    assert all("500" in fault for fault in opened.faults)
    opened.faults.clear()


def test_giving_up_what_is_being_sent_drops_no_other_flag(visit: Callable[..., Visit], served: Served) -> None:
    opened = visit("#sample=single")
    page = opened.page
    refuse = {"status": 500, "content_type": "application/json", "body": '{"error": "The disk is full."}'}
    page.route("**/flags", lambda route: route.fulfill(**refuse))
    for cell, at in ((1, (120, 90)), (2, (300, 200))):
        page.mouse.click(*opened.screen(*at))
        expect(page.get_by_role("heading", name=f"Cell {cell}", exact=True)).to_be_visible()
        page.keyboard.press("1")
    expect(page.locator("#unsaved")).to_contain_text("2 flags are not saved")
    held: list[Any] = []
    free: list[bool] = []
    page.unroute("**/flags")
    page.route("**/flags", lambda route: route.continue_() if free else held.append(route))
    with opened.asking("/flags"):
        page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Give the first one up").click()
    free.append(True)
    for route in held:
        route.continue_()
    wait_for(lambda: page.locator("#unsaved").is_hidden())
    assert served.flags() == [("single", 1, "wrong", ""), ("single", 2, "wrong", "")]
    opened.faults.clear()


def test_planes_change_in_place_and_keep_contrast(visit: Callable[..., Visit]) -> None:
    opened = visit("#sample=a0&x=300&y=200&zoom=3")
    page = opened.page
    before = opened.transform()
    page.get_by_role("tab", name="Channels").click()
    with opened.asking(":12345:"):
        page.get_by_label("Brightest value of DAPI, as a number").fill("12345")
        page.keyboard.press("Enter")
    opened.asked.clear()
    page.locator("#plane").focus()
    page.keyboard.press("End")
    expect(page.locator("#sample-name")).to_have_text("a2")
    opened.settle()
    assert opened.transform() == before
    samples, queries = zip(*opened.tiles("image"), strict=True)
    assert "a2" in samples
    assert all(query["c"][0].split(":")[2] == "12345" for query in queries)
    assert {sample for sample, _ in opened.tiles("outlines")} == {"a2"}
    x, y = opened.screen(300, 200)
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    value = picture(page)[int(y - box["y"]), int(x - box["x"])]
    assert value == pytest.approx([255 * (4000 - 100) / (12345 - 100)] * 3, abs=4)
    page.locator("#canvas").focus()
    page.keyboard.press("PageUp")
    expect(page.locator("#sample-name")).to_have_text("a1")
    page.keyboard.press("]")
    expect(page.locator("#sample-name")).to_have_text("a2")
    assert opened.transform() == before
    expect(page).to_have_url(re.compile("#sample=a2&x=300.0&y=200.0&zoom=3$"))


def test_colour_contrast_and_choice_of_channels_reach_the_tiles(visit: Callable[..., Visit]) -> None:
    opened = visit("#sample=single")
    page = opened.page
    assert {tuple(query["c"]) for _, query in opened.tiles("image")} == {("0:100:10000:ffffff",)}
    page.get_by_role("tab", name="Channels").click()
    with opened.asking("c=0:100:10000:ff0000"):
        page.get_by_label("Colour of DAPI").fill("#ff0000")
    with opened.asking("c=0:50:10000:ff0000"):
        page.get_by_label("Darkest value of DAPI, as a number").fill("50")
        page.keyboard.press("Enter")
    with opened.asking("c=0:50:10000:ff0000&c=1:"):
        page.get_by_role("checkbox", name=HOSTILE).check()
    with opened.asking("color=00ff00"):
        page.get_by_role("checkbox", name="DAPI").uncheck()
        page.get_by_role("checkbox", name=HOSTILE).uncheck()
        page.get_by_label("Colour of the outlines").fill("#00ff00")

    def is_green_alone() -> bool:
        seen = picture(page)
        return bool((seen[:, :, 1] - seen[:, :, 0] > 60).any() and not (seen[:, :, 0] - seen[:, :, 1] > 60).any())

    wait_for(is_green_alone)
    expect(page.locator("#image-file")).to_have_text(re.compile("^Image: /.*/images/9000.ome.tif$"))


def test_names_from_files_are_text(visit: Callable[..., Visit]) -> None:
    opened = visit("#sample=single")
    page = opened.page
    expect(page.locator("#panel-samples")).to_contain_text("<script>window.hit=1</script> is odd")
    page.get_by_role("button", name=HOSTILE).click()
    expect(page.locator("#sample-name")).to_have_text(HOSTILE)
    expect(page.locator("#message-text")).to_contain_text("8000.ome.tif is not where it was")
    page.get_by_role("tab", name="Channels").click()
    assert page.locator("img").count() == 1  # of the minimap
    assert page.evaluate("() => window.hit") is None


def test_what_is_missing_is_said(visit: Callable[..., Visit]) -> None:
    opened = visit("#sample=without_mask")
    expect(opened.page.locator("#message-text")).to_contain_text("This sample has no mask")
    opened.page.evaluate("() => { location.hash = '#sample=nowhere'; }")
    expect(opened.page.locator("#message-text")).to_contain_text("No sample is called nowhere in these results")
    opened.page.get_by_role("tab", name="Samples").click()
    opened.page.get_by_label("Find").first.fill("zzz")
    expect(opened.page.locator("#panel-samples")).to_contain_text("No sample is like that.")


def test_the_address_holds_sample_and_place_and_back_goes_back(visit: Callable[..., Visit]) -> None:
    opened = visit("#sample=single&x=300&y=200&zoom=2")
    page = opened.page
    assert "token" not in page.url
    page.get_by_role("button", name="a1").click()
    expect(page.locator("#sample-name")).to_have_text("a1")
    opened.settle()
    page.go_back()
    expect(page.locator("#sample-name")).to_have_text("single")
    opened.settle()
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert opened.screen(300, 200) == pytest.approx(middle, abs=1)
    assert opened.transform()[0] == pytest.approx(2, abs=0.01)


def test_a_cell_is_reached_and_flagged_by_keys_alone(visit: Callable[..., Visit], served: Served) -> None:
    opened = visit("#sample=a1&x=260&y=200&zoom=2")
    page = opened.page
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "canvas":
            break
    else:
        pytest.fail("the image cannot be reached by Tab")
    expect(page.locator(".cross")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#said")).to_have_text("Cell 2 at the centre.")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text(re.compile("Cell 2 chosen"))
    page.keyboard.press("3")
    wait_for(lambda: served.flags() == [("a1", 2, "split", "")])
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("choose the cell at the crosshair")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Delete")
    wait_for(lambda: served.flags() == [])
    page.keyboard.press("g")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Cell 7", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_or_hangs_over(visit: Callable[..., Visit], width: int) -> None:
    opened = visit("#sample=a1", viewport={"width": width, "height": 800}, has_touch=width < 1000)
    page = opened.page
    page.keyboard.press("1")  # a long thing is said
    (page.mouse.click if width > 1000 else page.touchscreen.tap)(*opened.screen(300, 200))
    expect(page.get_by_role("heading", name="Cell 2", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    for tab in ("Samples", "Channels", "Cell", "Flags"):
        page.get_by_role("tab", name=tab).click()
        hanging = page.evaluate(
            """() => [...document.querySelectorAll('button, input, select, h2, td, th, p, label')]
            .filter(e => e.checkVisibility() && e.getBoundingClientRect().width > 1)
            .filter(e => { const b = e.getBoundingClientRect(); return b.left < -0.5 || b.right > innerWidth + 0.5; })
            .map(e => e.outerHTML.slice(0, 80))"""
        )
        assert hanging == []
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        assert page.locator("#panel-body").evaluate("e => e.scrollWidth <= e.clientWidth")
        assert page.locator("body").evaluate("e => e.scrollWidth") == width
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    assert stage["width"] >= (0.7 if width == 1280 else 1) * width
    assert stage["height"] >= 250


def test_a_long_name_leaves_the_header_one_line(visit: Callable[..., Visit]) -> None:
    opened = visit("#sample=single", viewport={"width": 390, "height": 800})
    opened.page.get_by_role("tab", name="Samples").click()
    opened.page.get_by_role("button", name=HOSTILE).click()
    expect(opened.page.locator("#sample-name")).to_have_text(HOSTILE)
    places = [opened.page.locator(part).bounding_box() for part in ("#previous", "#next", "#help-button")]
    assert len({place["y"] for place in places if place}) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit: Callable[..., Visit], scheme: str) -> None:
    opened = visit("#sample=without_mask", color_scheme=scheme)
    page = opened.page
    page.mouse.click(*opened.screen(120, 90))
    expect(page.get_by_role("heading", name="Cell 1", exact=True)).to_be_visible()
    page.keyboard.press("4")
    expect(page.locator("#said")).to_have_text("Cell 1: outline. Saved.")
    for tab in ("Samples", "Channels", "Cell", "Flags"):
        page.get_by_role("tab", name=tab).click()
        weak = page.evaluate(
            """() => {
            const parse = (text) => {
              const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
              return [r, g, b, a];
            };
            const part = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
            const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
            const ground = (e) => {
              for (; e; e = e.parentElement) {
                const color = parse(getComputedStyle(e).backgroundColor);
                if (color[3] > 0.5) return color;
              }
              throw new Error('no ground');
            };
            const ownText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
            return [...document.querySelectorAll('body *')]
              .filter((e) => e.checkVisibility() && e instanceof HTMLElement && ownText(e) && !e.disabled)
              .map((e) => {
                const pair = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((a, b) => b - a);
                return [(pair[0] + 0.05) / (pair[1] + 0.05), e.outerHTML.slice(0, 90)];
              }).filter(([ratio]) => !(ratio >= 4.5)); }"""
        )
        assert weak == []
