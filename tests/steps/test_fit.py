"""`cohortseg train`: a folder of labelled images becomes a network, whatever interrupts it."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cohortseg.errors import (
    CheckpointError,
    DeviceError,
    ImageError,
    MissingFileError,
    SampleSheetError,
    SettingsError,
    TableError,
)
from cohortseg.networks import load_checkpoint
from cohortseg.settings import load_settings
from cohortseg.settings.training import TrainSettings
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.steps.examples import median_diameter_px, read_example, true_diameter_px
from cohortseg.steps.fit import TrainOptions, train_network
from cohortseg.steps.training import plan_training, read_train_settings, samples_of_split
from cohortseg.stores.flags import Flags
from cohortseg.stores.tables import read_json, write_yaml

Earlier = Literal["refuse", "resume", "resume or restart"]
HEADER = "sample\timage\tlabels\tkind\tsplit\n"


def labelled_image(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:80, :90]
    labels = np.zeros((80, 90), np.uint16)
    for i, (y, x) in enumerate(np.ndindex(3, 3), start=1):
        labels[(yy - 26 * y - 14) ** 2 + (xx - 28 * x - 16) ** 2 < rng.uniform(6, 12) ** 2] = 3 * i
    return (20 + 150 * (labels > 0) + rng.integers(0, 20, labels.shape)).astype(np.uint8), labels


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Return a sheet of three images, one of them to test with, and one of them in colour."""
    rows = []
    for i, split in enumerate(("train", "train", "test")):
        image, labels = labelled_image(i)
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.dstack([image] * 3) if i == 1 else image)
        tifffile.imwrite(tmp_path / f"{i}.tif", labels)
        rows.append(f"s{i}\t{i}.png\t{i}.tif\t{'histology' if i == 1 else 'fluorescence'}\t{split}\n")
    (tmp_path / "sheet.tsv").write_text(HEADER + "".join(rows))
    write_yaml(
        tmp_path / "tiny.yaml",
        {"widths": [2, 4, 8], "steps": 6, "checkpoint_every": 2, "batch_size": 2, "crop_px": 32},
    )
    return tmp_path / "sheet.tsv"


@pytest.fixture
def options(sheet: Path) -> Callable[..., TrainOptions]:
    """Return a maker of options for the sheet."""

    def make(name: str, earlier: Earlier = "refuse", device: str = "cpu") -> TrainOptions:
        settings = read_train_settings(sheet.parent / "tiny.yaml")
        return TrainOptions(sheet, sheet.parent / name, settings, device, 1, earlier)

    return make


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def test_a_training_leaves_a_network_its_record_and_its_losses(options: Callable[..., TrainOptions]) -> None:
    lines: list[str] = []
    path = train_network(options("out"), lines.append)
    assert lines[0] == "reading 2 images"
    assert [line.split(",")[0] for line in lines[1:]] == ["step 2 of 6", "step 4 of 6", "step 6 of 6"]
    checkpoint, record = load_checkpoint(path), read_json(path.with_suffix(".json"))
    assert (checkpoint.network.widths, checkpoint.diameter_px) == ((2, 4, 8), 20.0)
    assert record["sha256"] == checkpoint.sha256
    assert record["images"] == {"fluorescence": 1, "histology": 1}
    assert (record["cells"], record["step"], record["settings"]["crop_px"]) == (18, 6, 32)
    with (path.parent / "loss.tsv").open() as file:
        assert [row["step"] for row in csv.DictReader(file, delimiter="\t")] == ["2", "4", "6"]
    assert {file.name for file in path.parent.iterdir()} == {
        "model.pt",
        "model.json",
        "loss.tsv",
        "loss.png",
        "training_state.pt",
    }


@pytest.mark.parametrize("stop_after", [2, 4, 6])
def test_a_killed_training_goes_on_and_ends_with_the_same_network(
    options: Callable[..., TrainOptions], stop_after: int
) -> None:
    whole = train_network(options("whole"), lambda _: None)

    def kill(line: str) -> None:
        if line.startswith(f"step {stop_after} "):
            raise Killed

    with pytest.raises(Killed):
        train_network(options("killed"), kill)
    assert not (whole.parents[1] / "killed" / "model.pt").exists()
    lines: list[str] = []
    resumed = train_network(options("killed", earlier="resume"), lines.append)
    assert lines[1] == f"going on after step {stop_after} of 6"
    assert resumed.read_bytes() == whole.read_bytes()
    steps = [line.split("\t")[:2] for line in (resumed.parent / "loss.tsv").read_text().splitlines()]
    assert steps == [line.split("\t")[:2] for line in (whole.parent / "loss.tsv").read_text().splitlines()]
    seconds = [float(line.split("\t")[2]) for line in (resumed.parent / "loss.tsv").read_text().splitlines()[1:]]
    assert seconds == sorted(seconds)


def test_a_finished_training_resumed_gives_the_same_network_at_once(options: Callable[..., TrainOptions]) -> None:
    first = train_network(options("out"), lambda _: None).read_bytes()
    assert train_network(options("out", earlier="resume"), lambda _: None).read_bytes() == first


def test_resume_begins_where_there_is_nothing_to_go_on_from(options: Callable[..., TrainOptions]) -> None:
    assert train_network(options("new", earlier="resume"), lambda _: None).is_file()


def test_a_training_that_was_begun_is_neither_overwritten_nor_mixed_with_another(
    options: Callable[..., TrainOptions],
) -> None:
    train_network(options("out"), lambda _: None)
    with pytest.raises(SettingsError, match=r"holds a training that was begun.*--resume"):
        train_network(options("out"), lambda _: None)
    other = {"widths": [2, 4, 8], "steps": 9, "checkpoint_every": 9, "batch_size": 1, "crop_px": 32}
    write_yaml(options("out").sheet.parent / "tiny.yaml", other)
    resume = options("out", earlier="resume")
    with pytest.raises(SettingsError, match="steps was 6 and is 9"):
        train_network(resume, lambda _: None)
    lines: list[str] = []
    train_network(options("out", earlier="resume or restart"), lines.append)
    assert lines[1].startswith("beginning anew: the training to be resumed was begun otherwise")
    assert lines[2].startswith("step 9 of 9")
    (resume.output / "training_state.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"training_state\.pt cannot be read"):
        train_network(resume, lambda _: None)


def test_images_are_seen_as_a_segmentation_sees_them(sheet: Path) -> None:
    settings = TrainSettings(inverted_kinds=("histology",))
    gray, inverted = (read_example(sample, settings) for sample in samples_of_split(sheet, "train"))
    for example, seed in ((gray, 0), (inverted, 1)):
        pixels, labels = labelled_image(seed)
        lower, upper = np.percentile(pixels, [1, 99])
        scaled = (pixels - lower) / (upper - lower)
        # R, G and B are the same here: one plane is kept.
        np.testing.assert_allclose(example.image, [1 - scaled if seed == 1 else scaled], atol=1e-6)
        assert np.array_equal(example.labels, labels // 3)
        assert example.image.dtype == np.float32


def test_the_diameter_is_that_of_the_median_area() -> None:
    labels = np.zeros((30, 30), np.uint32)
    labels[:2, :2], labels[10:13, :3], labels[20:, :10] = 7, 8, 9
    assert median_diameter_px(labels) == pytest.approx(2 * np.sqrt(9 / np.pi))
    assert median_diameter_px(np.zeros((3, 3), np.uint32)) is None


def test_an_image_without_cells_is_an_example_at_the_networks_own_scale(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), labelled_image(0)[0])
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((80, 90), np.uint16))
    sample = TrainingSample("a", str(tmp_path / "a.png"), str(tmp_path / "a.tif"), "fluorescence", "train")
    assert read_example(sample, TrainSettings()).diameter_px == 20.0


def test_labels_of_another_shape_are_refused(options: Callable[..., TrainOptions]) -> None:
    tifffile.imwrite(options("x").sheet.parent / "0.tif", np.ones((5, 6), np.uint16))
    with pytest.raises(ImageError, match="the labels of s0 are 5 x 6 px; its image is 80 x 90 px"):
        train_network(options("x"), lambda _: None)


def test_bad_sheets_are_refused_before_anything_is_read(options: Callable[..., TrainOptions]) -> None:
    sheet = options("x").sheet
    content = sheet.read_text()
    sheet.write_text(content.replace("\ttrain\n", "\ttest\n"))
    with pytest.raises(SampleSheetError, match=r"sheet\.tsv has no row of split train"):
        train_network(options("x"), lambda _: None)
    sheet.write_text(content.replace("1.png", "gone.png"))
    with pytest.raises(SampleSheetError, match=r"row 3, sample 's1': image .*gone\.png does not exist"):
        train_network(options("x"), lambda _: None)
    sheet.unlink()
    with pytest.raises(MissingFileError, match="a training sheet was expected"):
        train_network(options("x"), lambda _: None)


def test_cuda_without_a_gpu_is_refused(options: Callable[..., TrainOptions], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError):
        train_network(options("x", device="cuda"), lambda _: None)


def two_channels(folder: Path) -> None:
    """Make every image of the sheet one of two channels, CD45 first, and the sheet name them."""
    for i in range(3):
        pixels = cv2.imread(str(folder / f"{i}.png"), cv2.IMREAD_GRAYSCALE)
        stack = np.stack([pixels // 2, pixels])
        tifffile.imwrite(
            folder / f"{i}.ome.tif", stack, metadata={"axes": "CYX", "Channel": {"Name": ["CD45", "DAPI"]}}
        )
    lines = (folder / "sheet.tsv").read_text().replace(".png", ".ome.tif").splitlines()
    named = [f"{line}\t{'channels' if i == 0 else 'DAPI,CD45'}" for i, line in enumerate(lines)]
    (folder / "sheet.tsv").write_text("\n".join(named) + "\n")


def test_a_network_can_learn_from_two_named_channels(options: Callable[..., TrainOptions]) -> None:
    folder = options("out").sheet.parent
    two_channels(folder)
    example = read_example(samples_of_split(folder / "sheet.tsv", "train")[0], TrainSettings())
    assert example.image.shape == (2, 80, 90)
    checkpoint = load_checkpoint(train_network(options("out"), lambda _: None))
    assert (checkpoint.n_inputs, checkpoint.facts.n_inputs) == (2, 2)


def test_images_of_one_and_of_two_channels_are_not_mixed(options: Callable[..., TrainOptions]) -> None:
    folder = options("out").sheet.parent
    two_channels(folder)
    sheet = folder / "sheet.tsv"
    sheet.write_text(sheet.read_text().replace("DAPI,CD45", "DAPI", 1))
    with pytest.raises(SampleSheetError, match="different numbers of channels: s0 one, s1 two"):
        train_network(options("out"), lambda _: None)


def test_a_training_starts_from_another_network(options: Callable[..., TrainOptions]) -> None:
    first = train_network(options("first"), lambda _: None)
    more = {"start_from": str(first), "steps": 2, "checkpoint_every": 2, "batch_size": 1, "crop_px": 32}
    write_yaml(first.parents[1] / "tiny.yaml", more)
    second = train_network(options("second"), lambda _: None)
    record = read_json(second.with_suffix(".json"))
    assert record["started_from_sha256"] == load_checkpoint(first).sha256
    assert record["settings"]["widths"] == [2, 4, 8]
    write_yaml(first.parents[1] / "tiny.yaml", more | {"start_from": "no-such-network"})
    with pytest.raises(SettingsError, match="no-such-network"):
        train_network(options("third"), lambda _: None)
    write_yaml(first.parents[1] / "tiny.yaml", more | {"widths": [2, 4, 8]})
    with pytest.raises(SettingsError, match="start_from without widths"):
        options("fourth")


# Cell 3 i of a labelled image is around pixel CENTRES[i - 1], (x, y).
CENTRES = [(28 * x + 16, 26 * y + 14) for y, x in np.ndindex(3, 3)]


def flag(sheet: Path, **flags: str) -> None:
    """Flag cells of image s0, as cell_3="wrong", and have the sheet name the file for it."""
    for name, kind in flags.items():
        cell_id = int(name.removeprefix("cell_"))
        x_px, y_px = CENTRES[cell_id // 3 - 1]
        Flags(sheet.parent / "flags.tsv").put("s0", cell_id, kind, x_px=x_px, y_px=y_px)
    header, first, *others = sheet.read_text().splitlines()
    if "flags" not in header:
        sheet.write_text("\n".join([f"{header}\tflags", f"{first}\tflags.tsv", *others]) + "\n")


def test_cells_flagged_as_faulty_do_not_teach(options: Callable[..., TrainOptions]) -> None:
    """Whatever is labelled in them, the network is the same; and it goes on as the same after it was killed."""
    sheet = options("x").sheet
    flag(sheet, cell_3="merged", cell_15="outline", cell_27="good")
    lines: list[str] = []
    first = train_network(options("first"), lines.append)
    assert lines[:2] == ["reading 2 images", "2 cells are flagged as faulty and do not teach"]
    record = read_json(first.with_suffix(".json"))
    assert (record["cells"], record["cells_left_out"]) == (16, 2)

    labels = tifffile.imread(sheet.parent / "0.tif")
    tifffile.imwrite(sheet.parent / "0.tif", np.where((labels == 15) & (np.indices(labels.shape)[1] > 46), 16, labels))
    Flags(sheet.parent / "flags.tsv").put("s0", 15, "split", x_px=CENTRES[4][0] - 2, y_px=CENTRES[4][1])
    Flags(sheet.parent / "flags.tsv").put("s0", 16, "split", x_px=CENTRES[4][0] + 4, y_px=CENTRES[4][1])

    def kill(line: str) -> None:
        if line.startswith("step 2 "):
            raise Killed

    with pytest.raises(Killed):
        train_network(options("second"), kill)
    second = train_network(options("second", earlier="resume"), lambda _: None)
    assert load_checkpoint(second).sha256 == load_checkpoint(first).sha256

    sheet.write_text(sheet.read_text().replace("\tflags.tsv", "\t"))
    unflagged = train_network(options("third"), lambda _: None)
    assert load_checkpoint(unflagged).sha256 != load_checkpoint(first).sha256
    assert read_json(unflagged.with_suffix(".json"))["cells_left_out"] == 0


def test_other_flags_are_another_training(options: Callable[..., TrainOptions]) -> None:
    flag(options("x").sheet, cell_3="wrong")
    train_network(options("out"), lambda _: None)
    flag(options("x").sheet, cell_6="wrong")
    with pytest.raises(SettingsError, match="the images or labels are others"):
        train_network(options("out", earlier="resume"), lambda _: None)
    flag(options("x").sheet, cell_6="good")
    train_network(options("out", earlier="resume"), lambda _: None)


def test_the_diameter_is_that_of_the_cells_that_are_not_faulty(sheet: Path) -> None:
    labels = tifffile.imread(sheet.parent / "0.tif")
    faulty = {f"cell_{value}": "merged" for value in (3, 9, 15, 21, 27)}
    flag(sheet, **faulty)
    sample = samples_of_split(sheet, "train")[0]
    left = np.where(labels % 2 == 1, 0, labels).astype(np.uint32)
    assert read_example(sample, TrainSettings()).diameter_px == true_diameter_px(sample) == median_diameter_px(left)
    assert median_diameter_px(left) != median_diameter_px(labels.astype(np.uint32))
    flag(sheet, **{f"cell_{value}": "wrong" for value in (6, 12, 18, 24)})
    assert true_diameter_px(sample) is None
    assert read_example(sample, TrainSettings()).untaught.tolist() == list(range(1, 10))


def test_flags_of_other_labels_are_refused(options: Callable[..., TrainOptions]) -> None:
    sheet = options("x").sheet
    flag(sheet, cell_3="wrong", cell_6="wrong")
    Flags(sheet.parent / "flags.tsv").put("s0", 88, "wrong", x_px=5, y_px=6)
    with pytest.raises(TableError, match=r"0\.tif lacks flagged cells where they were flagged: 88 \(x 5, y 6\);"):
        train_network(options("x"), lambda _: None)


def test_faults_of_flags_stop_before_anything_is_read(options: Callable[..., TrainOptions]) -> None:
    sheet = options("x").sheet
    flag(sheet, cell_3="wrong")
    good = sheet.read_text()
    sheet.write_text(good.replace("s0\t", "renamed\t"))
    with pytest.raises(SampleSheetError, match=r"sample 'renamed': flags .*flags\.tsv has no flag of 'renamed'"):
        train_network(options("x"), lambda _: None)
    sheet.write_text(good)
    (sheet.parent / "flags.tsv").write_text("sample\tcell\n")
    with pytest.raises(SampleSheetError, match=r"row 2, sample 's0': flags .* cannot be used: flags\.tsv, line 1"):
        train_network(options("x"), lambda _: None)


def test_the_workflow_trains_anew_when_flags_change(sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sheet.parent)
    training = {"sheet": str(sheet), "name": "mine"}
    before = plan_training(load_settings({"training": training}), os.path.exists)
    flag(sheet, cell_3="wrong")
    plan = plan_training(load_settings({"training": training}), os.path.exists)
    assert before is not None
    assert plan is not None
    assert plan["train_images"] == [*before["train_images"], str(sheet.parent / "flags.tsv")]
    assert plan["test_images"] == before["test_images"]
