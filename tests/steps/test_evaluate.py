"""Step evaluate: polygons and a ground truth in, evaluation.json out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.evaluate import THRESHOLDS
from cohortseg.steps import evaluate
from cohortseg.steps.evaluate import evaluate_file
from cohortseg.steps.planes import label_reader


def test_the_agreement_with_a_ground_truth_is_written(sample: Any, job: Callable[..., Any]) -> None:
    snakemake = job(
        "evaluate",
        input={"polygons": sample.polygons, "metadata": sample.metadata, "labels": sample.labels},
        output={"evaluation": "evaluation.json"},
    )
    evaluate.main(snakemake)
    found = json.loads(Path(snakemake.output.evaluation).read_text())
    assert found["labels"] == str(sample.labels)
    assert found["thresholds"] == list(THRESHOLDS)
    n_cells = json.loads(sample.metadata.read_text())["counts"]["cells"]
    for i in range(len(THRESHOLDS)):
        assert found["tp"][i] + found["fp"][i] == n_cells
        assert found["tp"][i] + found["fn"][i] == sample.truth.max()
        assert found["ap"][i] == pytest.approx(found["tp"][i] / (found["tp"][i] + found["fp"][i] + found["fn"][i]))
    assert found["ap"] == sorted(found["ap"], reverse=True)
    assert found["count_error"] == n_cells - sample.truth.max() == found["n_predicted"] - found["n_true"]
    assert 0 < found["inner_true"] < found["n_true"]
    for score in ("precision", "recall", "f1"):
        assert len(found[score]) == len(THRESHOLDS)
    for score in ("f1_neurips", "f1_neurips_empty_is_1", "dice", "mean_matched_iou"):
        assert 0.5 < found[score] <= 1


def test_cells_against_themselves_agree_wholly(sample: Any, tmp_path: Path) -> None:
    shape = sample.pixels.shape
    labels = tmp_path / "labels.tif"
    tifffile.imwrite(labels, label_reader(sample.polygons)(Box(0, 0, *shape)))
    found = evaluate_file(sample.polygons, labels, shape=shape, plane=0)
    assert found["ap"] == found["f1"] == [1.0] * len(THRESHOLDS)


def test_a_truth_of_another_shape_is_refused(sample: Any, tmp_path: Path) -> None:
    labels = tmp_path / "labels.tif"
    tifffile.imwrite(labels, np.zeros((20, 30), np.uint16))
    with pytest.raises(ImageError, match=r"the ground truth labels\.tif is 20 x 30 px; the image is 150 x 190 px"):
        evaluate_file(sample.polygons, labels, shape=sample.pixels.shape, plane=0)


def test_of_a_truth_with_several_planes_the_segmented_one_counts(sample: Any, tmp_path: Path) -> None:
    shape = sample.pixels.shape
    cells = label_reader(sample.polygons)(Box(0, 0, *shape))
    labels = tmp_path / "labels.ome.tif"
    tifffile.imwrite(labels, np.stack([np.zeros_like(cells), cells]).astype(np.uint16), metadata={"axes": "ZYX"})
    assert evaluate_file(sample.polygons, labels, shape=shape, plane=1)["ap"][0] == 1.0
    assert evaluate_file(sample.polygons, labels, shape=shape, plane=0)["ap"][0] == 0.0
