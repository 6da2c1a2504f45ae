"""`snakemake train`: a network of one's own, trained, judged and put in use by the workflow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

TRAINED = Path("results") / "train" / "textured"


def add_training(cohort: Any, textured_sheet: Callable[..., Path], **settings: Any) -> None:
    """Give the cohort's config a training of a few steps on images of a kind that nuclei-mini has not seen."""
    textured_sheet(cohort.folder, n_train=4, n_test=1)
    tiny = {"start_from": "nuclei-mini", "steps": 30, "checkpoint_every": 10, "batch_size": 4, "crop_px": 64}
    (cohort.folder / "training.yaml").write_text(yaml.safe_dump(tiny | {"average_decay": 0.9} | settings))
    config = yaml.safe_load((cohort.folder / "config.yaml").read_text())
    config["training"] = {"sheet": "training.tsv", "name": "textured", "config_file": "training.yaml"}
    (cohort.folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_network_is_trained_judged_and_put_in_use(fresh: Any, textured_sheet: Callable[..., Path]) -> None:
    add_training(fresh, textured_sheet)
    assert fresh.planned("train") == {("fit", ""), ("promote", ""), ("train", "")}
    fresh.run("train")
    made = {path.name for path in (fresh.folder / TRAINED).iterdir()}
    assert {"model.pt", "model.json", "loss.tsv", "loss.png", "promotion.json", "scores.tsv", "scores.png"} <= made
    in_use = fresh.folder / "networks" / "textured.pt"
    assert in_use.read_bytes() == (fresh.folder / TRAINED / "model.pt").read_bytes()
    assert fresh.planned("train") == set()
    # Another learning rate trains anew, and learns too little to be put in use.
    add_training(fresh, textured_sheet, learning_rate=1e-9)
    assert {rule for rule, _ in fresh.planned("train")} == {"fit", "promote", "train"}
    fresh.run("train")
    decision = yaml.safe_load((fresh.folder / TRAINED / "promotion.json").read_text())
    assert not decision["promoted"]
    assert in_use.read_bytes() != (fresh.folder / TRAINED / "model.pt").read_bytes()
    assert "beginning anew" in (fresh.folder / "logs" / "fit" / "network.log").read_text()


def test_what_is_wrong_is_said_before_any_job(fresh: Any, textured_sheet: Callable[..., Path]) -> None:
    done = fresh.snakemake("train")
    assert done.returncode != 0
    assert "training.sheet is not set" in done.stdout + done.stderr
    add_training(fresh, textured_sheet, start_from="networks/textured.pt")
    (fresh.folder / "networks").mkdir()
    (fresh.folder / "networks" / "textured.pt").write_bytes(b"")
    done = fresh.snakemake("train")
    assert "which it replaces when it succeeds" in done.stdout + done.stderr
    add_training(fresh, textured_sheet, steps=0)
    done = fresh.snakemake("train")
    assert "steps: found 0" in done.stdout + done.stderr
    add_training(fresh, textured_sheet)
    (fresh.folder / "t0.png").unlink()
    done = fresh.snakemake("train")
    assert "t0.png does not exist" in done.stdout + done.stderr
    assert not (fresh.folder / "results").exists()
