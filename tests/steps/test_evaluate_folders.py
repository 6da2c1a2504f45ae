"""`cohortseg evaluate`: files and folders of cells against ground truth."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

from cohortseg.arrays import Box
from cohortseg.cli import app
from cohortseg.errors import ImageError, MissingFileError, TableError
from cohortseg.steps.evaluate_folders import describe, evaluate_pair, find_pairs, leave_out_faulty, write_table
from cohortseg.steps.planes import label_reader
from cohortseg.stores.flags import Flags


def labels(*columns: int, width: int = 40) -> np.ndarray:
    """Return an image with a cell of 4 x 4 px from each of these columns on."""
    image = np.zeros((12, width), np.uint16)
    for label, x in enumerate(columns, start=1):
        image[4:8, x : x + 4] = label
    return image


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return folders with the ground truth and predictions of two images, in several formats."""
    truth, predicted = tmp_path / "truth", tmp_path / "predicted"
    truth.mkdir()
    predicted.mkdir()
    tifffile.imwrite(truth / "a.tif", labels(4, 14))
    tifffile.imwrite(truth / "b.ome.tif", labels(4))
    (truth / "notes.txt").write_text("not an image")
    zarr.save_array(predicted / "a.zarr", labels(4, 24))
    tifffile.imwrite(predicted / "b.tif", labels(4))
    tifffile.imwrite(predicted / "surplus.tif", labels(4))
    return truth, predicted


def test_folders_are_compared_by_name(folders: tuple[Path, Path], tmp_path: Path) -> None:
    images = [evaluate_pair(pair) for pair in find_pairs(*folders)]
    assert [(image.sample, image.counts.tp[0], image.counts.n_predicted) for image in images] == [
        ("a", 1, 2), ("b", 1, 1),
    ]  # fmt: skip
    lines = describe(images).splitlines()
    assert [line.split()[0] for line in lines] == ["sample", "a", "b", "(mean)", "(median)", "(pooled)"]
    assert lines[1].split()[1] == "0.333"
    assert lines[5].split()[-4:] == ["3", "3", "0", "0"]
    write_table(tmp_path / "scores.tsv", images)
    table = pd.read_csv(tmp_path / "scores.tsv", sep="\t")
    assert table["ap_95"].tolist() == pytest.approx([1 / 3, 1])
    assert not {"model", "seconds_per_mpx"} & set(table.columns)


def test_results_of_a_segmentation_are_read_as_polygons_mask_or_folder(sample: Any, tmp_path: Path) -> None:
    shape = sample.pixels.shape
    truth = tmp_path / "field.tif"
    tifffile.imwrite(truth, label_reader(sample.polygons)(Box(0, 0, *shape)))
    results = tmp_path / "results" / "field"
    results.mkdir(parents=True)
    shutil.copy(sample.polygons, results)
    for predicted in (sample.polygons, results):
        (pair,) = find_pairs(truth, predicted)
        assert evaluate_pair(pair).counts.scores()["ap_mean"] == 1
    (tmp_path / "truths").mkdir()
    shutil.move(truth, tmp_path / "truths")
    (pair,) = find_pairs(tmp_path / "truths", tmp_path / "results")
    assert pair.predicted == results / "polygons.parquet"


def test_one_image_needs_no_name_in_common(folders: tuple[Path, Path]) -> None:
    (pair,) = find_pairs(folders[0] / "a.tif", folders[1] / "a.zarr")
    image = evaluate_pair(pair)
    assert describe([image]).count("\n") == 1
    assert image.counts.tp[0] == 1


def test_true_images_without_prediction_are_all_named(folders: tuple[Path, Path]) -> None:
    truth, predicted = folders
    shutil.rmtree(predicted / "a.zarr")
    (predicted / "b.tif").unlink()
    with pytest.raises(MissingFileError, match="no prediction for a, b"):
        find_pairs(truth, predicted)


def test_what_does_not_go_together_is_refused(folders: tuple[Path, Path], sample: Any, tmp_path: Path) -> None:
    truth, predicted = folders
    with pytest.raises(ImageError, match=r"a\.tif is one image"):
        find_pairs(truth, truth / "a.tif")
    with pytest.raises(MissingFileError, match=r"truth has no cells; polygons\.parquet or mask\.zarr"):
        find_pairs(truth / "a.tif", truth)
    with pytest.raises(MissingFileError, match="nowhere does not exist"):
        find_pairs(truth, tmp_path / "nowhere")
    tifffile.imwrite(tmp_path / "wide.tif", labels(4, width=41))
    with pytest.raises(ImageError, match=r"wide\.tif is 12 x 41 px; the ground truth is 12 x 40 px"):
        evaluate_pair(*find_pairs(truth / "a.tif", tmp_path / "wide.tif"))
    with pytest.raises(ImageError, match="reaches beyond it"):
        evaluate_pair(*find_pairs(truth / "a.tif", sample.polygons))
    tifffile.imwrite(predicted / "a.tif", labels(4))
    with pytest.raises(ImageError, match="have one name"):
        find_pairs(truth, predicted)


@pytest.fixture
def reviewed(folders: tuple[Path, Path]) -> Path:
    """Return results of the images a, b and c that people have looked at, their flags beside them."""
    results = folders[0].parent / "results"
    for name, image in (("a", labels(4, 14)), ("b", labels(4)), ("c", labels(4, 14))):
        (results / name).mkdir(parents=True)
        zarr.save_array(results / name / "mask.zarr", image)
    (results / "cohort").mkdir()
    Flags(results / "cohort" / "flags.tsv").put("a", 2, "wrong", x_px=15.5, y_px=5.5)
    Flags(results / "cohort" / "flags.tsv").put("a", 1, "good", x_px=5.5, y_px=5.5)
    return results


def test_results_that_people_have_looked_at_are_a_ground_truth(folders: tuple[Path, Path], reviewed: Path) -> None:
    zarr.save_array(folders[1] / "c.zarr", labels(4, 14))
    pairs = find_pairs(reviewed, folders[1])
    assert [(pair.name, pair.truth) for pair in pairs] == [(name, reviewed / name / "mask.zarr") for name in "abc"]
    plain = [evaluate_pair(pair).counts for pair in pairs]
    assert [(counts.tp[0], counts.n_true, counts.n_predicted) for counts in plain] == [(1, 2, 2), (1, 1, 1), (2, 2, 2)]
    flagged = leave_out_faulty(pairs, reviewed / "cohort" / "flags.tsv")
    counts = evaluate_pair(flagged[0]).counts
    # The cell that was found elsewhere stays surplus; the one that was not found is not missed.
    assert (counts.tp[0], counts.n_true, counts.n_predicted) == (1, 1, 2)
    assert [evaluate_pair(pair).counts for pair in flagged[1:]] == plain[1:]
    for truth in (reviewed / "a", reviewed / "a" / "mask.zarr"):
        pairs = find_pairs(truth, folders[1] / "a.zarr")
        assert evaluate_pair(*leave_out_faulty(pairs, reviewed / "cohort" / "flags.tsv")).counts == counts


def test_flags_are_an_option_of_the_command(folders: tuple[Path, Path], reviewed: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", str(folders[0]), str(folders[1]), "--output", str(tmp_path / "s.tsv")]
    plain = CliRunner().invoke(app, arguments)
    assert "left out" not in plain.output
    assert pd.read_csv(tmp_path / "s.tsv", sep="\t")["n_true"].tolist() == [2, 1]
    done = CliRunner().invoke(app, [*arguments, "--flags", str(reviewed / "cohort" / "flags.tsv")])
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "left out: 1 true cells that are flagged, and what was found of them"
    assert pd.read_csv(tmp_path / "s.tsv", sep="\t")["n_true"].tolist() == [1, 1]


def test_flags_of_other_images_or_of_other_labels_are_refused(folders: tuple[Path, Path], reviewed: Path) -> None:
    flags = reviewed / "cohort" / "flags.tsv"
    pairs = find_pairs(*folders)
    with pytest.raises(TableError, match=r"flags\.tsv has no flag of b; it has flags of a\. Give the flags"):
        leave_out_faulty(pairs[1:], flags)
    Flags(flags).put("a", 3, "split", x_px=25.0, y_px=5.0)
    with pytest.raises(TableError, match=r"a\.tif lacks flagged cells where they were flagged: 3 \(x 25, y 5\)"):
        evaluate_pair(leave_out_faulty(pairs, flags)[0])


def test_results_without_a_mask_are_no_ground_truth(sample: Any, folders: tuple[Path, Path], tmp_path: Path) -> None:
    results = tmp_path / "results" / "field"
    results.mkdir(parents=True)
    shutil.copy(sample.polygons, results)
    for truth in (results, results.parent):
        with pytest.raises(MissingFileError, match=r"field has no mask\.zarr.*poly2mask"):
            find_pairs(truth, folders[1])
