"""Folders of results as the viewer finds them, and what a hostile one can make it read."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cohortseg import polygonise
from cohortseg.arrays import Box
from cohortseg.errors import CohortsegError, ImageError, MissingFileError, SettingsError, TableError
from cohortseg.steps.assemble import write_configs
from cohortseg.steps.view import ViewOptions, view_results
from cohortseg.steps.view_files import ResultsFolder
from cohortseg.stores.polygons import PolygonWriter
from cohortseg.stores.tables import read_json, write_json
from cohortseg.viewer.answers import default_channels, describe
from cohortseg.viewer.drawing import draw_channels
from cohortseg.viewer.geometry import zoom_of
from cohortseg.viewer.sessions import Session, UnknownSampleError

ROOT = Path(__file__).resolve().parents[2]


def write_results(folder: Path, image: str | Path, **settings: Any) -> None:
    """Write the results of an image of 40 x 60 px with one cell, as `cohortseg infer` leaves them."""
    labels = np.zeros((40, 60), np.uint32)
    labels[5:25, 10:30] = 1
    table = polygonise(labels)
    facts = {"area_px": 400, "centroid_x": 20.0, "centroid_y": 15.0, "score": np.float32(1), "touches_edge": False}
    with PolygonWriter(folder / "polygons.parquet", shape=labels.shape) as writer:
        writer.append(table.assign(**facts, flow_error=np.float32(0)))
    content = {"image": str(image), "mask_shape": [40, 60], "counts": {"cells": 1}, "settings": settings}
    write_json(folder / "metadata.json", content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return results of one sample whose image is named as a workflow in the folder above named it."""
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.full((40, 60), 9, np.uint8))
    write_results(tmp_path / "results" / "a", "images/a.png")
    return tmp_path / "results"


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def test_relative_images_are_found_from_any_folder(
    folder: Path, scratch: Path, background: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scratch)
    view = ResultsFolder(folder, scratch, background).files("a").open_image()
    assert view.source.path == folder.parent / "images" / "a.png"
    view.close()


def test_a_cohort_has_the_words_of_its_summary_and_the_order_of_its_stacks(
    folder: Path, scratch: Path, background: ThreadPoolExecutor
) -> None:
    write_results(folder / "b", "images/a.png")
    write_configs(folder / "stacks" / "s" / "configs.yml", [("b", 4), ("a", 2)])
    (folder / "cohort").mkdir()
    (folder / "cohort" / "summary.tsv").write_text(
        "sample\tstatus\tn_cells\twarnings\na\tok\t7\tblurred; few cells\nb\tok\t8.0\t\nc\tfailed\t\t\n"
    )
    cohort = ResultsFolder(folder, scratch, background).cohort()
    assert cohort["title"] == folder.parent.name
    a, b, c = cohort["samples"]
    assert (a["n_cells"], a["verdict"], a["warnings"]) == (7, "look", ["blurred", "few cells"])
    assert (b["n_cells"], b["verdict"], b["stack"], b["z_index"]) == (8, "ok", "s", 4)
    assert (c["sample"], c["verdict"], c["n_cells"]) == ("c", "failed", None)
    planes = [{"sample": "a", "z_index": 2}, {"sample": "b", "z_index": 4}]
    assert cohort["stacks"] == [{"stack": "s", "planes": planes}]


def test_samples_that_come_later_are_found(folder: Path, scratch: Path, background: ThreadPoolExecutor) -> None:
    results = ResultsFolder(folder, scratch, background)
    write_results(folder / "later", "images/a.png")
    with pytest.raises(UnknownSampleError):
        results.files("later")
    assert [sample["sample"] for sample in results.cohort()["samples"]] == ["a", "later"]
    assert results.files("later").n_cells == 1


def test_the_folder_of_one_image_is_a_cohort_of_one(
    folder: Path, scratch: Path, background: ThreadPoolExecutor
) -> None:
    results = ResultsFolder(folder / "a", scratch, background)
    assert [(each["sample"], each["n_cells"]) for each in results.cohort()["samples"]] == [("a", 1)]
    assert not results.files("a").has_mask


def test_a_folder_of_images_is_a_stack_once_its_order_is_filled_in(
    folder: Path, scratch: Path, background: ThreadPoolExecutor
) -> None:
    results = ResultsFolder(folder, scratch, background)
    write_configs(folder / "configs.yml", [("a", None)])
    assert results.cohort()["stacks"] == []
    write_configs(folder / "configs.yml", [("a", 3)])
    assert results.cohort()["stacks"] == [{"stack": "results", "planes": [{"sample": "a", "z_index": 3}]}]
    (folder / "configs.yml").write_text("stitch: nonsense\n")
    assert results.cohort()["stacks"] == []


def test_what_holds_no_results_is_refused(tmp_path: Path, scratch: Path, background: ThreadPoolExecutor) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(MissingFileError, match="results"):
            ResultsFolder(path, scratch, background)


@pytest.mark.parametrize("linked", ["", "metadata.json", "polygons.parquet", "mask.zarr"])
def test_links_that_lead_out_of_the_results_are_not_followed(
    folder: Path, scratch: Path, background: ThreadPoolExecutor, tmp_path: Path, linked: str
) -> None:
    write_results(tmp_path / "outside", "images/a.png")
    if linked:
        write_results(folder / "link", "images/a.png")
        (folder / "link" / linked).unlink(missing_ok=True)
    (folder / "link" / linked).symlink_to(tmp_path / "outside" / linked)
    results = ResultsFolder(folder, scratch, background)
    assert [sample["sample"] for sample in results.cohort()["samples"]] == ["a"]


def test_links_of_the_folder_of_one_image_are_not_followed_either(
    folder: Path, scratch: Path, background: ThreadPoolExecutor, tmp_path: Path
) -> None:
    (folder / "a" / "polygons.parquet").rename(tmp_path / "polygons.parquet")
    (folder / "a" / "polygons.parquet").symlink_to(tmp_path / "polygons.parquet")
    with pytest.raises(MissingFileError, match="holds no results"):
        ResultsFolder(folder / "a", scratch, background)


def test_images_behind_urls_are_fetched_only_where_the_user_allows_it(
    folder: Path, scratch: Path, background: ThreadPoolExecutor
) -> None:
    asked = []

    class Told(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            write_results(folder / "a", f"http://me:secret@127.0.0.1:{server.server_port}/inside/a.tif?key=secret")
            facts = describe("a", Session(ResultsFolder(folder, scratch, background).files("a")))
            assert asked == []
            assert not facts["has_image"]
            assert "a.tif is not on this computer, and was not fetched from 127.0.0.1" in facts["problem"]
            assert "--remote" in facts["problem"]
            assert "secret" not in facts["problem"]
            describe("a", Session(ResultsFolder(folder, scratch, background, remote=True).files("a")))
            assert asked
        finally:
            server.shutdown()
            thread.join(30)


def test_the_page_is_told_which_file_is_shown(folder: Path, scratch: Path, background: ThreadPoolExecutor) -> None:
    session = Session(ResultsFolder(folder, scratch, background).files("a"))
    assert describe("a", session)["image"] == str(folder.parent / "images" / "a.png")
    session.close()


def test_an_image_that_is_written_anew_is_opened_anew(
    folder: Path, scratch: Path, background: ThreadPoolExecutor
) -> None:
    results = ResultsFolder(folder, scratch, background)
    state = results.files("a").state
    assert results.state("a") == state
    cv2.imwrite(str(folder.parent / "images" / "b.png"), np.full((40, 60), 200, np.uint8))
    os.replace(folder.parent / "images" / "b.png", folder.parent / "images" / "a.png")
    assert results.state("a") != state
    assert results.files("a").state == results.state("a")


def test_another_image_of_the_same_name_and_shape_is_told(
    folder: Path, scratch: Path, background: ThreadPoolExecutor
) -> None:
    path = folder / "a" / "metadata.json"
    size_bytes = (folder.parent / "images" / "a.png").stat().st_size
    write_json(path, read_json(path) | {"image_checksum": {"size_bytes": size_bytes}})
    results = ResultsFolder(folder, scratch, background)
    results.files("a").open_image().close()
    other = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
    cv2.imwrite(str(folder.parent / "images" / "a.png"), other)
    with pytest.raises(ImageError, match=f"and had {size_bytes} when it was segmented"):
        results.files("a").open_image()


def test_an_image_that_was_inverted_is_shown_as_it_is(
    folder: Path, scratch: Path, background: ThreadPoolExecutor
) -> None:
    path = folder / "a" / "metadata.json"
    inverted = {"inputs": [{"channels": [0]}], "normalisation": {"lower": [230.0], "upper": [40.0]}}
    write_json(path, read_json(path) | inverted)
    session = Session(ResultsFolder(folder, scratch, background).files("a"))
    (channel,) = describe("a", session)["channels"]
    assert (channel["lower"], channel["upper"]) == (40, 230)
    session.close()


def test_flags_are_written_nowhere_else(
    folder: Path, scratch: Path, background: ThreadPoolExecutor, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "cohort").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="link to another place"):
        ResultsFolder(folder, scratch, background)


@pytest.mark.parametrize(
    "image", ["/etc/passwd", "/dev/zero", "/proc/self/environ", "../../../../etc/passwd", "/", "", "a\0b", 7, None]
)
def test_metadata_cannot_have_other_files_shown(
    folder: Path, scratch: Path, background: ThreadPoolExecutor, image: Any
) -> None:
    path = folder / "a" / "metadata.json"
    write_json(path, read_json(path) | {"image": image})
    results = ResultsFolder(folder, scratch, background)
    session = Session(results.files("a"))
    with pytest.raises(CohortsegError):
        session.image  # noqa: B018
    facts = describe("a", session)
    assert not facts["has_image"]
    assert "root" not in facts["problem"]
    assert "/etc" not in facts["problem"]


@pytest.mark.parametrize("settings", [{"series": -1}, {"level": "x"}, {"plane": 1.5}, {"image_type": 3}])
def test_metadata_that_name_no_page_are_told(
    folder: Path, scratch: Path, background: ThreadPoolExecutor, settings: dict[str, Any]
) -> None:
    write_results(folder / "a", "images/a.png", **settings)
    with pytest.raises(TableError, match="page"):
        ResultsFolder(folder, scratch, background).files("a").open_image()


def test_colour_pictures_are_shown_as_they_are(folder: Path, scratch: Path, background: ThreadPoolExecutor) -> None:
    picture = np.full((40, 60, 3), (30, 60, 200), np.uint8)  # blue, green, red
    cv2.imwrite(str(folder.parent / "images" / "a.png"), picture)
    session = Session(ResultsFolder(folder, scratch, background).files("a"))
    assert describe("a", session)["is_rgb"]
    looks = default_channels(session)
    zoom = zoom_of((40, 60), 6)
    assert zoom is not None
    planes, _ = session.image.read(zoom, Box(0, 0, 40, 60), [look.channel for look in looks])
    shown = cv2.imdecode(np.frombuffer(draw_channels(planes, looks), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.abs(shown.astype(int) - picture).max() < 6
    session.close()


def test_an_image_of_another_size_is_told(folder: Path, scratch: Path, background: ThreadPoolExecutor) -> None:
    cv2.imwrite(str(folder.parent / "images" / "a.png"), np.zeros((41, 60), np.uint8))
    with pytest.raises(ImageError, match="41 x 60 px, and had 40 x 60 px"):
        ResultsFolder(folder, scratch, background).files("a").open_image()


def test_a_port_that_is_taken_is_an_error(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} is taken"):
            view_results(ViewOptions(folder, port, False), print)


def test_the_command_listens_on_loopback_alone_and_leaves_nothing(folder: Path, scratch: Path) -> None:
    command = [sys.executable, "-m", "cohortseg", "view", str(folder), "--no-browser"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "TMPDIR": str(scratch)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(":")[2].split("/")[0])
        listening = [line.split() for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()]
        addresses = {line[1] for line in listening if line[3] == "0A" and line[1].endswith(f":{port:04X}")}
        process.terminate()
        assert process.wait(30) == 0
    assert addresses == {f"0100007F:{port:04X}"}
    assert list(scratch.iterdir()) == []
