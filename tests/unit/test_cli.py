"""The command line as a user meets it."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import cohortseg
from cohortseg.cli import main
from cohortseg.errors import ImageError
from cohortseg.synthetic import crowded_field


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def cohortseg_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Return what runs the command line in an empty folder, with a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield run
    root.handlers, root.level = handlers, level


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """Return a small image of nuclei."""
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, crowded_field((90, 100), n_cells=12, diameter_px=20.0, seed=2)[0])
    return path


def test_an_image_becomes_polygons_and_a_mask(
    cohortseg_command: Command, field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # a terminal, to rich
    options = ("--diameter", 20, "--device", "cpu", "--output-dir", "out")
    segmented = cohortseg_command("infer", "--image-path", field, *options)
    assert segmented.status == 0
    n_cells = json.loads((tmp_path / "out" / "metadata.json").read_text())["counts"]["cells"]
    assert segmented.out == f"field.tif: {n_cells} cells in out\n"
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", segmented.err)
    assert f"1/1 tiles, {n_cells} cells" in shown
    assert "Mpx/s" in shown
    drawn = cohortseg_command("poly2mask", "out")
    assert (drawn.status, drawn.out) == (0, "out/mask.zarr\n")
    assert (tmp_path / "out" / "mask.zarr" / "zarr.json").is_file()


def test_a_folder_becomes_planes_and_they_3d_cells(cohortseg_command: Command, field: Path, tmp_path: Path) -> None:
    folder = tmp_path / "planes"
    folder.mkdir()
    for name in ("z0.tif", "z1.tif"):
        (folder / name).write_bytes(field.read_bytes())
    assert cohortseg_command("infer", "--image-dir", "planes", "--diameter", 20, "--device", "cpu").status == 0
    unordered = cohortseg_command("stitch", "planes_results")
    assert unordered.status == 2
    assert "plane z0 has no z_index" in unordered.err
    configs = tmp_path / "planes_results" / "configs.yml"
    text = configs.read_text()
    configs.write_text(text.replace("null", "0", 1).replace("null", "1", 1))
    stitched = cohortseg_command("stitch", "planes_results", "--iou-threshold", 0.6, "--num-process", 0)
    assert stitched.status == 0
    counts = json.loads((tmp_path / "planes_results" / "z0" / "metadata.json").read_text())["counts"]
    n_cells = counts["cells"]
    assert stitched.out == f"{n_cells} objects, {n_cells} of them over several planes, in planes_results\n"


def test_label_images_become_polygons_masks_and_3d_cells(cohortseg_command: Command, tmp_path: Path) -> None:
    labels = crowded_field((90, 100), n_cells=12, diameter_px=20.0, seed=2)[1].astype(np.uint16)
    tifffile.imwrite(tmp_path / "top.tif", labels)
    np.save(tmp_path / "bottom.npy", np.where(labels == 3, 0, labels))
    traced = cohortseg_command("mask2poly", "top.tif", "bottom.npy", "--output", "stack", "--as-stack")
    assert (traced.status, traced.out) == (0, "stack/top: 12 cells\nstack/bottom: 11 cells\n")
    drawn = cohortseg_command("poly2mask", "stack", "--tiff", "--boundaries", "--zarr-format", 2)
    assert (drawn.status, drawn.out) == (0, "stack/bottom/mask.zarr\nstack/top/mask.zarr\n")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "stack" / "top" / "mask.tif"), labels)
    assert (tmp_path / "stack" / "top" / "boundaries.zarr" / ".zgroup").is_file()
    optimal = ("--rule", "optimal", "--max-gap", 1, "--min-planes", 2, "--z-step-um", 1.5)
    chosen = cohortseg_command("stitch", "stack", "--num-process", 0, *optimal)
    assert chosen.out.startswith("11 objects, 11 of them over several planes")
    stitched = cohortseg_command("stitch", "stack", "--num-process", 0)
    assert stitched.status == 0
    assert stitched.out.startswith("12 objects, 11 of them over several planes")


def test_options_that_are_not_given_leave_the_config_file_alone(
    cohortseg_command: Command, field: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("device: cpu\ndiameter: 20\nchannel_last: true\nplane: 1\n")
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.stack([tifffile.imread(field)] * 2), imagej=True, metadata={"axes": "ZYX"})
    options = ("--config-file", "c.yaml", "--output-dir", "out")
    assert cohortseg_command("infer", "--image-path", stack, *options).status == 0
    settings = json.loads((tmp_path / "out" / "metadata.json").read_text())["settings"]
    assert (settings["device"], settings["channel_last"], settings["plane"]) == ("cpu", True, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("infer",), "exactly one of --image-path and --image-dir is needed"),
        (("infer", "--image-path", "a.tif", "--image-dir", "b"), "both are given"),
        (("infer", "--image-path", "text.tif"), "text.tif is not a TIFF file"),
        (("infer", "--image-path", "cut.tif"), "cut.tif"),
        (("infer", "--image-path", "field.tif", "--channels", "DAPI"), "channel 'DAPI' is not in field.tif; it has: 0"),
        (("infer", "--image-path", "field.tif", "--model-type", "cyto9"), "model 'cyto9' is not known"),
        (("infer", "--image-path", "field.tif", "--channels", ""), "channels"),
        (("infer", "--image-dir", "mixed"), "1 of 2 images failed: text.tif; the others are done"),
        (("poly2mask", "mixed"), "mixed holds no polygons.parquet"),
        (("poly2mask", "mixed", "--zarr-format", "1"), "allowed: 2 or 3"),
        (("mask2poly", "none.tif", "--output", "out"), "none.tif does not exist"),
        (("mask2poly", "text.tif", "--output", "out"), "text.tif is not a TIFF file"),
        (("stitch", "mixed"), "mixed holds no planes"),
        (("stitch", "order"), "is not the order of a stack"),
    ],
)
def test_a_users_error_is_one_clear_line_and_status_2(
    cohortseg_command: Command, field: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "text.tif").write_text("not an image")
    (tmp_path / "cut.tif").write_bytes(field.read_bytes()[:9000])
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "text.tif").write_text("not an image")
    (tmp_path / "mixed" / "good.tif").write_bytes(field.read_bytes())
    (tmp_path / "order").mkdir()
    (tmp_path / "order" / "configs.yml").write_text("stitch: 3")
    extra = ("--device", "cpu", "--diameter", "20") if arguments[0] == "infer" else ()
    ended = cohortseg_command(*arguments, *extra)
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.count("cohortseg: ") == 1
    assert "Traceback" not in ended.err
    assert not [path for path in tmp_path.rglob("*.parquet") if "good" not in path.parts]
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_cuda_without_a_gpu_fails(cohortseg_command: Command, field: Path) -> None:
    ended = cohortseg_command("infer", "--image-path", field, "--device", "cuda")
    assert ended.status == 2
    assert "device 'cuda' was asked for, but no GPU can be used here" in ended.err


def test_debug_shows_the_traceback(field: Path) -> None:
    text = field.with_name("text.tif")
    text.write_text("not an image")
    with pytest.raises(ImageError, match="not a TIFF file"):
        main(["--debug", "infer", "--image-path", str(text), "--device", "cpu"])


@pytest.mark.parametrize("command", ["infer", "poly2mask", "mask2poly", "stitch", "demo"])
def test_every_command_explains_itself(cohortseg_command: Command, command: str) -> None:
    ended = cohortseg_command(command, "--help")
    assert ended.status == 0
    assert "Usage:" in ended.out
    assert cohortseg_command("--help").out.count(command) >= 1


def test_the_flags_are_those_that_are_promised(cohortseg_command: Command) -> None:
    promised = {
        "infer": "image-path image-dir output-dir model-type model-path size-model-path scale diameter channels "
        "channel-last image-type page device config-file",
        "poly2mask": "output-dir tiff boundaries zarr-format",
        "mask2poly": "output plane as-stack",
        "stitch": "output-dir iou-threshold num-process",
    }
    for command, flags in promised.items():
        shown = cohortseg_command(command, "--help").out
        for flag in flags.split():
            assert f"--{flag}" in shown


def test_the_version_is_printed(cohortseg_command: Command) -> None:
    assert cohortseg_command("--version").out == f"cohortseg {cohortseg.__version__}\n"


def test_an_unknown_option_is_told(cohortseg_command: Command) -> None:
    ended = cohortseg_command("infer", "--imagepath", "a.tif")
    assert ended.status == 2
    assert "--imagepath" in ended.err


def test_the_report_of_a_plan_on_standard_input(
    cohortseg_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    plan = {
        "results": "results",
        "settings": {"report": {"title": "My cohort"}, "qc": {}},
        "samples": {"a": {"labels": None, "segment": {"modality": None}}},
        "stacks": {},
        "exports": [],
    }
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(plan)))
    assert cohortseg_command("report").status == 0
    assert "My cohort" in (tmp_path / "results" / "cohort" / "report.html").read_text()


def test_ctrl_c_ends_at_once_with_one_line_and_no_half_file(tmp_path: Path) -> None:
    image = tmp_path / "large.tif"
    tifffile.imwrite(image, np.random.default_rng(0).integers(0, 1000, (3000, 3000), np.uint16), tile=(256, 256))
    command = [sys.executable, "-m", "cohortseg", "infer", "--image-path", str(image), "--diameter", "6"]
    command += ["--device", "cpu", "--output-dir", str(tmp_path / "out")]
    paths = os.pathsep.join(filter(None, [str(Path(cohortseg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    ) as run:
        assert run.stderr is not None
        assert any("large: 3000 x 3000 px" in line for line in iter(run.stderr.readline, ""))
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert out == ""
    assert err.strip().splitlines()[-1] == (
        "cohortseg: interrupted; what was finished stays, what was not has left no file"
    )
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_view_names_what_is_wrong_with_a_folder(cohortseg_command: Command, tmp_path: Path) -> None:
    ended = cohortseg_command("view", tmp_path, "--no-browser")
    assert ended.status == 2
    assert f"{tmp_path} holds no results" in ended.err
    assert cohortseg_command("view", tmp_path / "none").status == 2
    assert cohortseg_command("view", tmp_path, "--port", 70_000).status == 2
    assert "--no-browser" in cohortseg_command("view", "--help").out
