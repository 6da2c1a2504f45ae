"""Several models side by side on the tiny cohort, by a real Snakemake."""

import json
from typing import Any

import pandas as pd

COMPARE = """
compare:
  models:
    - name: fine
      diameter: 20
    - name: coarse
      model: nuclei-mini
      diameter: 45
"""
MISSING = """
    - name: theirs
      model: cyto3
      model_path: weights/cyto3
"""
FILES = ("comparison.tsv", "comparison_summary.tsv", "comparison_pairs.tsv", "comparison.png", "comparison.md")


def add_to_config(cohort: Any, text: str) -> None:
    with (cohort.folder / "config.yaml").open("a") as file:
        file.write(text)


def test_models_are_compared_on_the_samples_with_labels(fresh: Any) -> None:
    add_to_config(fresh, COMPARE)
    expected = {(rule, name) for rule in ("compare_segment", "compare_evaluate") for name in ("fine", "coarse")}
    assert fresh.planned("compare") == expected | {("compare", "")}
    fresh.run("compare")
    folder = fresh.folder / "results" / "compare"
    assert [name for name in FILES if not (folder / name).is_file()] == []
    metadata = json.loads((folder / "coarse" / "lone" / "metadata.json").read_text())
    assert metadata["diameter"]["px"] == 45
    table = pd.read_csv(folder / "comparison.tsv", sep="\t", index_col="model")
    assert table.index.tolist() == ["fine", "coarse"]
    assert table.loc["fine", "ap_mean"] > table.loc["coarse", "ap_mean"]
    assert (table["seconds_per_mpx"] > 0).all()
    assert "| fine | coarse | 1 |" in (folder / "comparison.md").read_text()
    assert fresh.planned("compare") == set()
    # Another diameter of one entry segments with that one alone.
    config = fresh.folder / "config.yaml"
    config.write_text(config.read_text().replace("diameter: 45", "diameter: 40"))
    assert {name for rule, name in fresh.planned("compare") if rule == "compare_segment"} == {"coarse"}


def test_weights_of_an_entry_that_are_missing_stop_everything_before_any_job(fresh: Any) -> None:
    add_to_config(fresh, COMPARE + MISSING)
    done = fresh.snakemake("compare")
    message = done.stdout + done.stderr
    assert done.returncode != 0
    assert "entry 'theirs' of compare.models" in message
    assert "weights/cyto3 is not a file" in message
    assert not (fresh.folder / "results").exists()


def test_without_models_or_labels_there_is_nothing_to_compare(fresh: Any) -> None:
    done = fresh.snakemake("compare")
    assert done.returncode != 0
    assert "compare.models is empty" in done.stdout + done.stderr
    add_to_config(fresh, COMPARE)
    sheet = fresh.folder / "samples.tsv"
    sheet.write_text(sheet.read_text().replace("labels/lone.tif", ""))
    done = fresh.snakemake("compare")
    assert done.returncode != 0
    assert "no sample has labels" in done.stdout + done.stderr
