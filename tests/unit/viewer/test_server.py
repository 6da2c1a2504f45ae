"""What the viewer answers, asked over HTTP as its page does."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cohortseg.stores.flags import read_flags


def told(viewer: Any, path: str) -> Any:
    answer = viewer.ask(path)
    assert answer.status == 200, answer.content
    return json.loads(answer.content)


def picture(viewer: Any, path: str) -> NDArray[np.uint8]:
    answer = viewer.ask(path)
    assert answer.status == 200, answer.content
    found = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return np.asarray(found, np.uint8)


def test_the_page_comes_with_its_token_alone_and_gives_a_cookie(viewer: Any) -> None:
    answer = viewer.ask("/?token=a-token-of-tests", Cookie=None)
    assert answer.status == 200
    assert answer.content.startswith(b"<!DOCTYPE html>")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"cohortseg-{viewer.port}=a-token-of-tests;")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert viewer.ask("/").status == 200
    assert "Set-Cookie" not in viewer.ask("/").headers


def test_every_answer_keeps_browsers_from_running_or_embedding_it(viewer: Any) -> None:
    for path in ("/", "/api/cohort", "/nowhere", "/api/samples/none"):
        headers = viewer.ask(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_the_files_of_the_page_are_all_that_can_be_asked_for(viewer: Any) -> None:
    page = viewer.ask("/").content.decode()
    names = {part.split('"')[0] for part in page.split("/assets/")[1:]}
    assert names
    for name in names:
        assert viewer.ask(f"/assets/{name}").status == 200
    for name in ("server.py", "..%2fserver.py", "../server.py", "%2e%2e/guard.py", ""):
        assert viewer.ask(f"/assets/{name}").status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": None},
        {"Cookie": "cohortseg-1=a-token-of-tests"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": None},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_others_are_refused(viewer: Any, headers: dict[str, str | None]) -> None:
    answer = viewer.ask("/api/cohort", **headers)
    assert answer.status in (400, 403)
    assert b"samples" not in answer.content


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1"])
def test_pages_of_other_origins_cannot_write(viewer: Any, origin: str | None) -> None:
    body = json.dumps({"cell_id": 1, "flag": "good", "x": 1, "y": 1}).encode()
    assert viewer.ask("/api/samples/good/flags", "POST", body, Origin=origin).status == 403
    assert viewer.ask("/api/samples/good/flags/1", "DELETE", Origin=origin).status == 403
    assert told(viewer, "/api/samples/good/flags") == []


def test_the_cohort_lists_its_samples(viewer: Any) -> None:
    cohort = told(viewer, "/api/cohort")
    assert [sample["sample"] for sample in cohort["samples"]] == ["bare", "damaged", "good", "moved"]
    assert cohort["samples"][2]["n_cells"] == 364


def test_a_sample_says_what_there_is(viewer: Any) -> None:
    facts = told(viewer, "/api/samples/good")
    assert (facts["width"], facts["height"], facts["levels"], facts["tile_px"]) == (1300, 700, 12, 512)
    assert [each["segmented"] for each in facts["channels"]] == [False, True]
    assert (facts["channels"][1]["lower"], facts["channels"][1]["upper"]) == (0, 1000)
    assert {"name": "area_px", "unit": "px"} in facts["columns"]
    assert (facts["n_cells"], facts["has_mask"], facts["problem"]) == (364, True, None)


def test_a_tile_at_full_resolution_shows_the_pixels(viewer: Any) -> None:
    shown = picture(viewer, "/api/samples/good/image/11/2_1.jpg?c=0:0:1299:0000ff")
    assert shown.shape == (188, 276, 3)
    blue = np.arange(1024, 1300) * 255 / 1299
    assert np.abs(shown[:, :, 0] - blue).max() < 4
    assert shown[:, :, 2].max() < 4


def test_channels_add_up(viewer: Any) -> None:
    shown = picture(viewer, "/api/samples/good/image/11/0_0.jpg?c=0:0:512:00ff00&c=1:0:1000:ff0000")
    assert shown[10, 10, 2] > 240  # a cell, dark in the ramp
    assert shown[30, 480, 1] > 220
    assert shown[30, 480, 2] < 30


def test_tiles_far_out_are_the_whole_image_once_it_was_read(viewer: Any) -> None:
    for _ in range(200):
        answer = viewer.ask("/api/samples/good/image/8/0_0.jpg?c=0:0:1299:ffffff")
        if answer.headers["X-Complete"] == "yes":
            break
        assert answer.headers["Cache-Control"] == "no-store"
    shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert shown is not None
    assert shown.shape == (88, 163)
    assert np.abs(shown[40] - (np.arange(163) * 8 + 3.5) * 255 / 1299).max() < 6
    assert told(viewer, "/api/samples/good/progress") == {"done": 1.0}


@pytest.mark.parametrize("sample", ["good", "bare"])
def test_outlines_lie_on_the_edges_of_cells(viewer: Any, sample: str) -> None:
    drawn = picture(viewer, f"/api/samples/{sample}/outlines/11/0_0.png?color=ff8000")
    assert drawn.shape == (512, 512, 4)
    assert drawn[19, 5].tolist() == [0, 128, 255, 255]  # the last row of a cell
    assert drawn[50, 5, 3] == 255  # the first row of one
    assert drawn[49, 5, 3] == 0
    assert drawn[10, 10, 3] == 0
    assert drawn[30, 30, 3] == 0


def test_cells_too_small_for_outlines_are_tinted(viewer: Any) -> None:
    drawn = picture(viewer, "/api/samples/good/outlines/8/0_0.png")
    assert drawn.shape == (88, 163, 4)
    assert 0 < drawn[0, 0, 3] < 255
    assert viewer.ask("/api/samples/bare/outlines/8/0_0.png").status == 404


def test_a_cell_is_found_by_place_and_by_id(viewer: Any) -> None:
    found = told(viewer, "/api/samples/good/cell?x=60.5&y=5")
    assert found["cell_id"] == 2
    assert found["values"]["mean_0"] == 4
    assert found["values"]["flow_error"] is None
    assert found["bounds"] == [50, 0, 70, 20]
    assert [50, 0] in found["outline"][0]
    assert told(viewer, "/api/samples/good/cell?id=2") == found
    assert told(viewer, "/api/samples/good/cell?x=30&y=30")["cell_id"] is None
    assert told(viewer, "/api/samples/good/cell?x=-5&y=99999")["cell_id"] is None
    assert told(viewer, "/api/samples/good/cell?id=4000000000")["cell_id"] is None


def test_without_cells_parquet_the_columns_of_the_polygons_are_told(viewer: Any) -> None:
    assert told(viewer, "/api/samples/bare/cell?x=60.5&y=5")["values"]["score"] == 0.5
    assert told(viewer, "/api/samples/bare")["has_mask"] is False


def test_an_image_that_was_moved_is_told_and_its_outlines_are_shown(viewer: Any) -> None:
    facts = told(viewer, "/api/samples/moved")
    assert facts["has_image"] is False
    assert facts["problem"] == "image.tif is not where it was. Put it back there, then open the sample again."
    answer = viewer.ask("/api/samples/moved/image/11/0_0.jpg")
    assert answer.status == 422
    assert str(viewer.results.parent).encode() not in answer.content
    assert viewer.ask("/api/samples/moved/outlines/11/0_0.png").status == 200
    assert viewer.ask("/api/samples/good/image/11/0_0.jpg").status == 200


def test_a_damaged_image_is_an_error_of_its_own_sample(viewer: Any) -> None:
    facts = told(viewer, "/api/samples/damaged")
    assert facts["has_image"] is False
    assert facts["problem"].startswith("cut.tif ")
    for _ in range(3):
        answer = viewer.ask("/api/samples/damaged/image/11/0_0.jpg")
        assert answer.status == 422
        assert json.loads(answer.content)["error"] == facts["problem"]
    assert viewer.ask("/api/samples/good/image/11/0_0.jpg").status == 200


def test_flags_are_put_replaced_and_taken_back(viewer: Any) -> None:
    path, table = "/api/samples/good/flags", viewer.results / "cohort" / "flags.tsv"
    for flag, note in (("wrong", "dust"), ("merged", "=HYPERLINK()")):
        body = json.dumps({"cell_id": 2, "flag": flag, "x": 60.44, "y": 5, "note": note}).encode()
        answer = viewer.ask(path, "POST", body)
        assert answer.status == 200
    row = json.loads(answer.content)
    assert (row["cell_id"], row["flag"], row["x"], row["note"]) == (2, "merged", 60.4, "'=HYPERLINK()")
    assert told(viewer, path) == [row]
    assert told(viewer, "/api/samples/good/cell?id=2")["flag"] == row
    assert read_flags(table)["flag"].tolist() == ["merged"]
    assert json.loads(viewer.ask(f"{path}/2", "DELETE").content) == {"removed": True}
    assert json.loads(viewer.ask(f"{path}/2", "DELETE").content) == {"removed": False}
    assert told(viewer, path) == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"cell_id": 99999, "flag": "good", "x": 1, "y": 1}, 404),
        ({"cell_id": 1, "flag": "great", "x": 1, "y": 1}, 400),
        ({"cell_id": 1, "flag": ["good"], "x": 1, "y": 1}, 400),
        ({"cell_id": "1", "flag": "good", "x": 1, "y": 1}, 400),
        ({"cell_id": True, "flag": "good", "x": 1, "y": 1}, 400),
        ({"cell_id": 1, "flag": "good", "x": float("nan"), "y": 1}, 400),
        ({"cell_id": 1, "flag": "good", "x": 10**400, "y": 1}, 400),
        ({"cell_id": 1, "flag": "good", "x": 1, "y": 1, "note": {}}, 400),
        ({"cell_id": 1, "flag": "good", "x": 1, "y": 1, "note": "x" * 20_000}, 413),
        ([], 400),
    ],
)
def test_flags_that_make_no_sense_are_refused(viewer: Any, content: object, status: int) -> None:
    answer = viewer.ask("/api/samples/good/flags", "POST", json.dumps(content).encode())
    assert answer.status == status
    assert "error" in json.loads(answer.content)
    assert told(viewer, "/api/samples/good/flags") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("image/12/0_0.jpg", 404),
        ("image/11/3_0.jpg", 404),
        ("image/11/0_0.jpg?c=2:0:1:ffffff", 404),
        ("image/11/0_0.jpg?c=0:nan:1:ffffff", 400),
        ("image/11/0_0.jpg?c=0:0:1:zzzzzz", 400),
        ("image/11/0_0.jpg?c=0:0", 400),
        ("image/11/0_0.jpg?" + "c=0:0:1:ffffff&" * 17, 400),
        ("image/-1/0_0.jpg", 404),
        ("outlines/11/0_0.png?color=red", 400),
        ("cell?x=a&y=1", 400),
        ("cell?x=1", 400),
        ("cell?x=1e99&y=1", 400),
        ("cell?id=-1", 400),
    ],
)
def test_tiles_and_cells_that_there_are_not(viewer: Any, path: str, status: int) -> None:
    answer = viewer.ask(f"/api/samples/good/{path}")
    assert answer.status == status
    assert json.loads(answer.content)["error"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(viewer: Any, method: str) -> None:
    assert viewer.ask("/api/cohort", method).status in (400, 405)


def test_limits_beyond_single_precision_are_drawn(viewer: Any) -> None:
    assert viewer.ask("/api/samples/good/image/11/0_0.jpg?c=0:-1.7e308:1.7e308:ffffff").status == 200
    assert viewer.ask("/api/samples/good/image/11/0_0.jpg?c=0:5:5:ffffff").status == 200


def test_results_that_are_written_anew_are_shown(viewer: Any, results: Path) -> None:
    before = told(viewer, "/api/samples/bare")
    content = json.loads((results / "bare" / "metadata.json").read_text())
    (results / "bare" / "metadata.json").write_text(json.dumps(content | {"pixel_size_um": 0.25}))
    assert before["pixel_size_um"] == 0.5
    assert told(viewer, "/api/samples/bare")["pixel_size_um"] == 0.25
