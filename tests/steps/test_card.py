"""`cohortseg card`: what a card says of a network is what the network does."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from cohortseg.errors import SampleSheetError, TableError
from cohortseg.evaluate.counts import Counts
from cohortseg.evaluate.tables import Scored
from cohortseg.networks import load_checkpoint, save_checkpoint
from cohortseg.networks.unet import ResidualUNet
from cohortseg.settings.training import TrainSettings
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.steps import card
from cohortseg.steps.score import Judge
from cohortseg.stores.tables import read_json, write_json


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a network that learned nothing, with its record."""
    path = tmp_path / "mine.pt"
    save_checkpoint(path, ResidualUNet((2, 4, 8), styled=False))
    record = {
        "sha256": load_checkpoint(path).sha256,
        "started_from_sha256": "5eed",
        "settings": TrainSettings(start_from="nuclei-mini").model_dump(mode="json"),
        "images": {"fluorescence": 3, "histology": 1},
        "cells": 1234,
        "step": 6000,
        "loss": 0.25,
        "seconds_s": 7200.0,
        "hardware": "CPU of a kind, 4 threads",
        "versions": {"torch": "2.0"},
    }
    write_json(path.with_suffix(".json"), record)
    return path


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Return a sheet with three test images of squares, two of one kind."""
    rng = np.random.default_rng(0)
    labels = np.zeros((64, 64), np.uint16)
    labels[5:25, 5:25], labels[35:55, 35:55] = 1, 2
    image = (100 * (labels > 0) + rng.integers(0, 50, labels.shape)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    rows = [f"s{i}\timage.png\tlabels.tif\t{kind}\ttest\n" for i, kind in enumerate(("b", "a", "b"))]
    (tmp_path / "sheet.tsv").write_text("sample\timage\tlabels\tkind\tsplit\n" + "".join(rows))
    return tmp_path / "sheet.tsv"


def scored(sample: TrainingSample, n_found: int) -> Scored:
    """Return the score of an image of two cells, of which some were found, and nothing else was."""
    found = {"n_true": 2, "true_px": 20, "inner_true": 2, "splits": 0, "merges": 0}
    found |= {"n_predicted": n_found, "inner_predicted": n_found, "inner_tp": n_found}
    px = 10 * n_found
    counts = Counts(tp=(n_found,) * 10, matched_iou=n_found, predicted_px=px, common_px=px, **found)
    return Scored(sample.sample, "mine", sample.kind, counts, 1.0, 1.0)


def test_a_card_tells_network_training_and_scores(checkpoint: Path, sheet: Path) -> None:
    lines: list[str] = []
    card.write_card(checkpoint, sheet, sheet.parent / "card.md", "cpu", lines.append)
    text = (sheet.parent / "card.md").read_text()
    assert len(lines) == 3
    for part in ("# mine", "2, 4, 8", load_checkpoint(checkpoint).sha256, "3 fluorescence, 1 histology", "1,234 cells"):
        assert part in text
    assert "| begun with | `nuclei-mini`, sha256 `5eed` |" in text
    assert "| time | 120 min on CPU of a kind, 4 threads |" in text
    assert "left out" not in text
    assert "| a | 1 | 2 | estimated |" in text
    assert "| b | 2 | 4 | given |" in text
    assert "| all | 3 | 6 | given |" in text


def test_a_card_tells_how_many_cells_were_left_out_of_the_training(
    checkpoint: Path, sheet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "score", lambda _, sample, __: scored(sample, n_found=2))
    record = checkpoint.with_suffix(".json")
    write_json(record, read_json(record) | {"cells_left_out": 5})
    card.write_card(checkpoint, sheet, sheet.parent / "card.md", "cpu", lambda _: None)
    assert "1,234 cells, 5 more left out as faulty" in (sheet.parent / "card.md").read_text()


def test_each_image_is_segmented_with_and_without_its_true_diameter(
    checkpoint: Path, sheet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diameters: list[float | None] = []

    def perfect_if_told(judge: Any, sample: TrainingSample, diameter_px: float | None) -> Scored:
        diameters.append(diameter_px)
        return scored(sample, n_found=1 if diameter_px is None else 2)

    monkeypatch.setattr(Judge, "score", perfect_if_told)
    card.write_card(checkpoint, sheet, sheet.parent / "card.md", "cpu", lambda _: None)
    true_px = pytest.approx(2 * np.sqrt(400 / np.pi))
    assert diameters == [None, true_px] * 3
    text = (sheet.parent / "card.md").read_text()
    assert "| all | 3 | 6 | estimated | 0.500 | 0.500 | 0.500 | 0.667 | 0.667 | 0.667 |" in text
    assert "| all | 3 | 6 | given | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 |" in text


def test_words_around_the_tables_stay(checkpoint: Path, sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "score", lambda _, sample, __: scored(sample, n_found=2))
    output = sheet.parent / "card.md"
    tables = [
        f"<!-- table: {name} -->\nold\n<!-- end -->\nafter {name}\n" for name in ("scores", "network", "training")
    ]
    output.write_text("Not for patients.\n" + "".join(tables))
    card.write_card(checkpoint, sheet, output, "cpu", lambda _: None)
    text = output.read_text()
    assert text.startswith("Not for patients.\n<!-- table: scores -->\nMeans over images")
    assert "old" not in text
    assert all(f"<!-- end -->\nafter {name}\n" in text for name in ("scores", "network", "training"))


def test_a_card_without_room_for_a_table_is_left_alone(checkpoint: Path, sheet: Path) -> None:
    output = sheet.parent / "card.md"
    output.write_text("<!-- table: network -->\n<!-- end -->\n")
    with pytest.raises(TableError, match=r"card\.md has no line <!-- table: training -->"):
        card.write_card(checkpoint, sheet, output, "cpu", lambda _: None)


def test_a_record_of_another_network_is_refused(checkpoint: Path, sheet: Path) -> None:
    save_checkpoint(checkpoint, ResidualUNet((2, 4, 8), styled=False))
    with pytest.raises(TableError, match=r"mine\.json is the record of another checkpoint than mine\.pt"):
        card.write_card(checkpoint, sheet, sheet.parent / "card.md", "cpu", lambda _: None)


def test_a_sheet_without_test_images_is_refused(checkpoint: Path, sheet: Path) -> None:
    sheet.write_text(sheet.read_text().replace("\ttest\n", "\ttrain\n"))
    with pytest.raises(SampleSheetError, match="no row of split test"):
        card.write_card(checkpoint, sheet, sheet.parent / "card.md", "cpu", lambda _: None)
