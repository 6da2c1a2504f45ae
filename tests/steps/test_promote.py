"""The rule promote: a network is put in use if it is better on images that it has not learned from, and only then."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from cohortseg.networks import load_checkpoint, save_checkpoint
from cohortseg.settings import SegmentSettings
from cohortseg.settings.training import TrainSettings
from cohortseg.steps.fit import TrainOptions, train_network
from cohortseg.steps.promote import Promotion, decide, main
from cohortseg.steps.training import find_start, samples_of_split
from cohortseg.stores.flags import Flags
from cohortseg.stores.tables import read_json, write_json

FINE_TUNED = TrainSettings(
    start_from="nuclei-mini", steps=30, checkpoint_every=30, batch_size=4, crop_px=64, average_decay=0.9
)
SEGMENT = SegmentSettings(device="cpu", backend="torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("promote")


@pytest.fixture
def sheet(folder: Path, textured_sheet: Callable[..., Path]) -> Path:
    """Return a sheet of ten images to learn from and two kept apart."""
    return textured_sheet(folder, n_train=10, n_test=2)


@pytest.fixture
def fine_tuned(folder: Path, sheet: Path) -> Path:
    """Return nuclei-mini after 30 steps on the ten images; trained once."""
    checkpoint = folder / "fit" / "model.pt"
    if not checkpoint.is_file():
        train_network(TrainOptions(sheet, checkpoint.parent, FINE_TUNED, "cpu", 1, "refuse"), lambda _: None)
    return checkpoint


def promotion(checkpoint: Path, in_use: Path, start_from: str | None = "nuclei-mini") -> Promotion:
    return Promotion(checkpoint, in_use, FINE_TUNED.model_copy(update={"start_from": start_from}), SEGMENT)


def test_ten_images_teach_a_kind_that_the_network_had_not_seen(sheet: Path, fine_tuned: Path, tmp_path: Path) -> None:
    in_use = tmp_path / "networks" / "textured.pt"
    lines: list[str] = []
    scores, decision = decide(promotion(fine_tuned, in_use), samples_of_split(sheet, "test"), lines.append)
    assert decision["old"]["ap_50"] < 0.2
    assert decision["new"]["ap_50"] > 0.6
    assert decision["promoted"]
    assert in_use.read_bytes() == fine_tuned.read_bytes()
    assert read_json(in_use.with_suffix(".json"))["sha256"] == decision["new"]["sha256"]
    assert [(score.model, score.sample, score.modality) for score in scores] == [
        (model, sample, "textured") for model in ("new", "old") for sample in ("t10", "t11")
    ]
    assert lines[-1].endswith(f"put in use as {in_use}")


def test_a_fine_tuned_network_keeps_what_it_started_from(fine_tuned: Path) -> None:
    start, network = load_checkpoint(find_start("nuclei-mini")), load_checkpoint(fine_tuned)
    record = read_json(fine_tuned.with_suffix(".json"))
    assert (network.network.widths, network.diameter_px, network.n_inputs) == (
        start.network.widths, start.diameter_px, start.n_inputs
    )  # fmt: skip
    assert record["started_from_sha256"] == start.sha256
    assert tuple(record["settings"]["widths"]) == start.network.widths


def test_a_worse_network_does_not_replace_the_one_in_use(sheet: Path, fine_tuned: Path, tmp_path: Path) -> None:
    in_use = tmp_path / "textured.pt"
    shutil.copy(fine_tuned, in_use)
    shutil.copy(fine_tuned.with_suffix(".json"), in_use.with_suffix(".json"))
    worse = tmp_path / "model.pt"
    shutil.copy(find_start("nuclei-mini"), worse)
    write_json(worse.with_suffix(".json"), {"sha256": load_checkpoint(worse).sha256})
    _, decision = decide(promotion(worse, in_use), samples_of_split(sheet, "test"), lambda _: None)
    assert not decision["promoted"]
    assert decision["old"] == {
        "path": str(in_use), "sha256": load_checkpoint(fine_tuned).sha256, "ap_50": decision["old"]["ap_50"]
    }  # fmt: skip
    assert in_use.read_bytes() == fine_tuned.read_bytes()
    assert read_json(in_use.with_suffix(".json"))["sha256"] == load_checkpoint(fine_tuned).sha256


def test_an_equal_network_is_not_better(sheet: Path, fine_tuned: Path, tmp_path: Path) -> None:
    in_use = tmp_path / "textured.pt"
    shutil.copy(fine_tuned, in_use)
    _, decision = decide(promotion(fine_tuned, in_use), samples_of_split(sheet, "test"), lambda _: None)
    assert not decision["promoted"]


def test_with_nothing_to_beat_the_new_network_is_put_in_use(sheet: Path, fine_tuned: Path, tmp_path: Path) -> None:
    samples = samples_of_split(sheet, "test")
    _, decision = decide(promotion(fine_tuned, tmp_path / "n.pt", start_from=None), samples, lambda _: None)
    assert decision["promoted"]
    assert decision["old"] is None
    assert (tmp_path / "n.pt").is_file()


def test_the_job_writes_the_decision_and_the_scores(
    sheet: Path, fine_tuned: Path, tmp_path: Path, job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    training = {"name": "mine", "promote_to": "networks", "settings": FINE_TUNED.model_dump(exclude_unset=True)}
    made = job(
        "promote",
        input={"checkpoint": fine_tuned, "sheet": sheet},
        output={"decision": "d.json", "scores": "s.tsv", "summary": "m.tsv", "curves": "c.png"},
        training=training,
        segment=SEGMENT.model_dump(mode="json"),
    )
    main(made)
    folder = tmp_path / "results" / "field"
    assert read_json(folder / "d.json")["in_use"] == "networks/mine.pt"
    assert (tmp_path / "networks" / "mine.pt").read_bytes() == fine_tuned.read_bytes()
    scores = pd.read_csv(folder / "s.tsv", sep="\t")
    assert scores["model"].tolist() == ["new", "new", "old", "old"]
    assert (scores.groupby("model")["ap_50"].mean()["new"]) > 0.6
    assert (folder / "c.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_of_modalities_does_not_change_what_is_compared(
    sheet: Path, fine_tuned: Path, tmp_path: Path
) -> None:
    """A table that inverts every image would make the new network blind."""
    block = {"invert": True, "channels": [7]}
    settings = SegmentSettings.model_validate(
        {"device": "cpu", "backend": "torch", "modalities": dict.fromkeys(("fluorescence", "histology", "grey"), block)}
    )
    plan = Promotion(fine_tuned, tmp_path / "n.pt", FINE_TUNED, settings)
    _, decision = decide(plan, samples_of_split(sheet, "test")[:1], lambda _: None)
    assert decision["new"]["ap_50"] > 0.6


def test_a_network_with_a_style_is_saved_with_it(tmp_path: Path) -> None:
    from cohortseg.networks.unet import ResidualUNet

    save_checkpoint(tmp_path / "styled.pt", ResidualUNet((2, 4, 8), styled=True), n_inputs=2)
    loaded = load_checkpoint(tmp_path / "styled.pt")
    assert (loaded.network.styled, loaded.n_inputs) == (True, 2)


def test_cells_flagged_as_faulty_are_neither_missed_nor_found(sheet: Path, fine_tuned: Path, tmp_path: Path) -> None:
    sample = samples_of_split(sheet, "test")[0]
    labels = tifffile.imread(sample.labels)
    faulty = np.unique(labels[labels > 0])[::2].tolist()
    for cell_id in faulty:
        y_px, x_px = np.argwhere(labels == cell_id)[0]
        Flags(tmp_path / "flags.tsv").put("old", cell_id, "outline", x_px=x_px, y_px=y_px)
    flagged = replace(sample, flags=str(tmp_path / "flags.tsv"), flags_sample="old")
    plan = promotion(fine_tuned, tmp_path / "n.pt", start_from=None)
    (plain,), _ = decide(plan, [sample], lambda _: None)
    (scored,), _ = decide(replace(plan, in_use=tmp_path / "m.pt"), [flagged], lambda _: None)
    assert scored.counts.n_true == plain.counts.n_true - len(faulty)
    assert 0 < scored.counts.tp[0] < plain.counts.tp[0]
    assert scored.counts.n_predicted < plain.counts.n_predicted
