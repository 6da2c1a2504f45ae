"""Step evaluate_cohort: evaluations in, tables and curves out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cohortseg.errors import TableError
from cohortseg.steps import evaluate_cohort
from cohortseg.steps.evaluate import evaluate_file
from cohortseg.steps.evaluate_cohort import read_scored


@pytest.fixture
def evaluation(sample: Any, tmp_path: Path) -> Path:
    """Return the evaluation.json of the sample."""
    found = evaluate_file(sample.polygons, sample.labels, shape=sample.pixels.shape, plane=0)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(found))
    return path


def test_tables_and_curves_of_all_samples_are_written(
    sample: Any, evaluation: Path, job: Callable[..., Any], tmp_path: Path
) -> None:
    snakemake = job(
        "evaluate_cohort",
        input={},
        output={"evaluation": "evaluation.tsv", "summary": "evaluation_summary.tsv", "curves": "evaluation.png"},
        samples=["one", "two"],
    )
    for name in ("one", "two"):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        shutil.copy(evaluation, folder / "evaluation.json")
        shutil.copy(sample.metadata, folder / "metadata.json")
    evaluate_cohort.main(snakemake)
    table = pd.read_csv(snakemake.output.evaluation, sep="\t")
    found = json.loads(evaluation.read_text())
    assert table["sample"].tolist() == ["one", "two"]
    assert table["model"].tolist() == ["nuclei-mini"] * 2
    assert table["ap_50"][0] == pytest.approx(found["ap"][0])
    assert table["n_true"].tolist() == [found["n_true"]] * 2
    assert (table["seconds_per_mpx"] > 0).all()
    summary = pd.read_csv(snakemake.output.summary, sep="\t").set_index("statistic")
    assert summary.loc["pooled", "n_true"] == 2 * found["n_true"]
    assert Path(snakemake.output.curves).read_bytes().startswith(b"\x89PNG")


def test_an_evaluation_of_an_older_version_is_refused(sample: Any, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"ap": [0.5]}))
    with pytest.raises(TableError, match="Run the rule evaluate again"):
        read_scored(tmp_path / "old.json", json.loads(sample.metadata.read_text()), sample="one")
