"""`cohortseg infer`: one image or a folder, without a workflow."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from cohortseg.errors import CohortsegError, ImageError, MissingFileError, SettingsError
from cohortseg.networks import Network
from cohortseg.networks.models import find_checkpoint
from cohortseg.settings import SegmentSettings
from cohortseg.steps.infer import InferOptions, infer_images

CPU = {"device": "cpu", "diameter": 20.0}


def infer(given: dict[str, Any] | None = None, **options: Any) -> list[str]:
    names = ("image_path", "image_dir", "output_dir", "scale", "config_file")
    return list(infer_images(InferOptions(**{name: options.get(name) for name in names}), given or CPU))


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "metadata.json").read_text())
    return facts


@pytest.fixture
def folder(sample: Any, tmp_path: Path) -> Path:
    """Return a folder with two small images, and files that are none."""
    images = tmp_path / "images"
    images.mkdir()
    tifffile.imwrite(images / "b.ome.tif", sample.pixels[:60, :70], ome=True)
    tifffile.imwrite(images / "a.tif", sample.pixels[:50, :50])
    (images / "notes.txt").write_text("hello")
    (images / ".hidden.tif").write_text("hello")
    return images


def test_one_image_goes_to_a_folder_named_after_it(
    sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = infer({**CPU, "channels": ["DAPI"]}, image_path=sample.image)
    output = Path("image_0_DAPI_nuclei-mini")
    assert line == f"image.ome.tif: {facts_of(output)['counts']['cells']} cells in {output}"
    assert sorted(path.name for path in output.iterdir()) == ["metadata.json", "polygons.parquet"]


def test_channels_that_are_not_given_show_in_the_name(
    sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = tmp_path / "my field.v2.tif"
    tifffile.imwrite(image, np.stack([sample.pixels[:40, :40]] * 2))
    infer({**CPU, "plane": 0, "channels": [1]}, image_path=image)
    infer(CPU, image_path=image)
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert names == ["my-field.v2_0_1_nuclei-mini", "my-field.v2_0_auto_nuclei-mini"]


def test_a_folders_images_go_to_folders_of_their_names_with_an_order_to_fill_in(folder: Path) -> None:
    lines = infer(image_dir=folder)
    output = folder.parent / "images_results"
    assert [line.split(":")[0] for line in lines] == ["a.tif", "b.ome.tif"]
    assert sorted(path.name for path in output.iterdir()) == ["a", "b", "configs.yml"]
    assert facts_of(output / "b")["shape"] == [60, 70]
    assert yaml.safe_load((output / "configs.yml").read_text()) == {
        "stitch": [{"image_name": "a", "z_index": None}, {"image_name": "b", "z_index": None}]
    }


def test_an_order_that_was_filled_in_survives_another_run(folder: Path) -> None:
    output = folder.parent / "images_results"
    output.mkdir()
    (output / "configs.yml").write_text("stitch: [{image_name: b, z_index: 5}, {image_name: gone, z_index: 1}]")
    infer(image_dir=folder)
    assert yaml.safe_load((output / "configs.yml").read_text()) == {
        "stitch": [{"image_name": "a", "z_index": None}, {"image_name": "b", "z_index": 5}]
    }


def test_the_working_directory_is_a_folder_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.tif").unlink()
    monkeypatch.chdir(folder)
    infer(image_dir=Path("."))
    assert (folder.parent / "images_results" / "b" / "polygons.parquet").is_file()


def test_a_folder_is_a_cohort_whose_images_share_their_intensities(folder: Path, tmp_path: Path) -> None:
    """As the workflow does it: the medians of the images' percentiles, those that cannot be read left out."""
    pixels = tifffile.imread(folder / "b.ome.tif")
    tifffile.imwrite(folder / "bright.tif", pixels * 2)
    (folder / "cut.tif").write_bytes(b"II*\0")
    config = tmp_path / "c.yaml"
    config.write_text("normalise: {policy: cohort}")
    running = infer_images(InferOptions(None, folder, None, None, config), CPU)
    lines = [next(running) for _ in range(5)]
    with pytest.raises(ImageError, match=r"1 of 4 images failed: cut\.tif"):
        next(running)
    output = folder.parent / "images_results"
    assert lines[0] == f"images: intensities of 4 images in {output / 'intensities.tsv'}"
    assert lines[4].startswith("cut.tif: FAILED: cut.tif")
    names = ("a", "b", "bright")
    inputs = [json.loads((output / name / "intensities.json").read_text())["inputs"][0] for name in names]
    for end in ("lower", "upper"):
        assert len({each[end] for each in inputs}) > 1, "the images differ"
        median = np.median([each[end] for each in inputs])
        assert [facts_of(output / name)["normalisation"][end] for name in names] == [[median]] * 3
    assert len((output / "intensities.tsv").read_text().splitlines()) == 5


def test_a_cohort_loads_its_network_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = Network.of.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(Network, "of", classmethod(lambda cls, settings: loaded.append(1) or load(cls, settings)))
    config = tmp_path / "c.yaml"
    config.write_text("normalise: {policy: cohort}")
    infer(CPU, image_dir=folder, config_file=config)
    assert len(loaded) == 1


def test_one_image_is_no_cohort(sample: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("normalise: {policy: cohort}")
    with pytest.raises(SettingsError, match=r"is a single image; a folder of images.*--image-dir"):
        infer(CPU, image_path=sample.image, output_dir=tmp_path / "out", config_file=config)
    assert not (tmp_path / "out").exists()


def test_a_bad_image_does_not_stop_the_others(folder: Path) -> None:
    (folder / "aa.tif").write_text("not an image")
    running = infer_images(InferOptions(None, folder, None, None, None), CPU)
    lines = [next(running) for _ in range(3)]
    with pytest.raises(ImageError, match=r"1 of 3 images failed: aa\.tif; the others are done"):
        next(running)
    assert [line.split(":")[0] for line in lines] == ["a.tif", "aa.tif", "b.ome.tif"]
    assert lines[1].startswith("aa.tif: FAILED: aa.tif is not a TIFF file")
    output = folder.parent / "images_results"
    assert (output / "b" / "polygons.parquet").is_file()
    assert not list(output.glob("aa/*"))


def test_the_scale_says_how_the_network_sees_the_image(sample: Any, tmp_path: Path) -> None:
    infer({"device": "cpu"}, image_path=sample.image, output_dir=tmp_path, scale=0.5)
    facts = facts_of(tmp_path)
    assert facts["scale"] == pytest.approx(0.5)
    assert facts["diameter"]["origin"] == "given"


def test_the_command_line_wins_over_the_config_file_which_wins_over_defaults(sample: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("device: cpu\ndiameter: 33\npipeline: {infer_size: 256}\npostprocess: {min_size: 40}\n")
    infer({"diameter": 20.0}, image_path=sample.image, output_dir=tmp_path / "out", config_file=config)
    settings = facts_of(tmp_path / "out")["settings"]
    assert (settings["device"], settings["diameter"], settings["pipeline"]["infer_size"]) == ("cpu", 20.0, 256)
    assert (settings["postprocess"]["min_size"], settings["postprocess"]["niter"]) == (40, 200)


def test_a_checkpoint_of_ones_own_gives_its_name(sample: Any, tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine_v3"
    shutil.copy(find_checkpoint(SegmentSettings()), checkpoint)
    infer({**CPU, "model_path": str(checkpoint)}, image_path=sample.image, output_dir=tmp_path / "out")
    model = facts_of(tmp_path / "out")["model"]
    assert (model["name"], model["path"]) == ("mine_v3", str(checkpoint))


@pytest.mark.parametrize(
    ("options", "given", "error", "message"),
    [
        ({}, {}, SettingsError, "exactly one of --image-path and --image-dir is needed; neither are given"),
        ({"image_path": "a.tif", "image_dir": "."}, {}, SettingsError, "both are given"),
        ({"image_path": "lost.tif"}, {}, MissingFileError, "lost.tif does not exist"),
        ({"image_dir": "lost"}, {}, MissingFileError, "lost is not a folder"),
        ({"image_dir": "empty"}, {}, MissingFileError, "empty holds no images; files ending in .tif"),
        ({"image_dir": "twins"}, {}, SettingsError, "several images in twins are called a"),
        (
            {"image_path": "a.tif"},
            {"model": "cyto9"},
            SettingsError,
            "model 'cyto9' is not known; did you mean 'cyto'?",
        ),
        (
            {"image_path": "a.tif"},
            {"model": "cyto3"},
            MissingFileError,
            "cohortseg models fetch cyto3` where there is a network connection",
        ),
        ({"image_path": "a.tif"}, {"model_path": "lost.pt"}, MissingFileError, "lost.pt is not a file"),
        ({"image_path": "a.tif", "scale": -1.0}, {}, SettingsError, "--scale is -1.0; a positive number"),
        ({"image_path": "a.tif", "scale": 2.0}, {"diameter": 9.0}, SettingsError, "and --diameter is given too"),
        ({"image_path": "a.tif"}, {"diameter": -3.0}, SettingsError, "diameter: found -3.0, allowed: greater than 0"),
        ({"image_path": "a.tif"}, {"channels": ["CD8"]}, CohortsegError, "channel 'CD8' is not in a.tif; it has: 0"),
        ({"image_path": "a.tif"}, {"plane": 4}, ImageError, "a.tif"),
        ({"image_path": "a.tif", "config_file": "bad.yaml"}, {}, SettingsError, "pipeline.infer_sise: unknown key"),
        ({"image_path": "a.tif", "config_file": "list.yaml"}, {}, CohortsegError, "list.yaml is malformed"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_written(
    options: dict[str, Any],
    given: dict[str, Any],
    error: type[CohortsegError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", np.zeros((30, 30), np.uint16))
    for name in ("empty", "twins"):
        Path(name).mkdir()
    for name in ("a.tif", "a.png"):
        (Path("twins") / name).touch()
    Path("bad.yaml").write_text("pipeline: {infer_sise: 256}")
    Path("list.yaml").write_text("- pipeline")
    before = sorted(tmp_path.rglob("*"))
    paths = {name: Path(value) if isinstance(value, str) else value for name, value in options.items()}
    with pytest.raises(error) as told:
        infer({"device": "cpu", **given}, **paths)
    assert message in str(told.value)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [p for p in before if p.is_file()]
