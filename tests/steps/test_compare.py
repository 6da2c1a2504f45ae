"""Step compare: evaluations of several models in, their comparison out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cohortseg.steps import compare
from cohortseg.steps.evaluate import evaluate_file

OUTPUT = {
    "comparison": "comparison.tsv",
    "summary": "comparison_summary.tsv",
    "pairs": "comparison_pairs.tsv",
    "curves": "comparison.png",
    "page": "comparison.md",
}


def test_models_are_set_side_by_side(sample: Any, tmp_path: Path, job: Callable[..., Any]) -> None:
    found = evaluate_file(sample.polygons, sample.labels, shape=sample.pixels.shape, plane=0)
    worse = found | {"tp": [0] * len(found["tp"]), "matched_iou": 0.0}
    for name, evaluation in (("good", found), ("bad", worse)):
        (tmp_path / f"{name}.json").write_text(json.dumps(evaluation))
    images = [(model, name) for model in ("bad", "good") for name in ("one", "two")]
    snakemake = job("compare", input={}, output=OUTPUT, images=images)
    snakemake.input.evaluations = [str(tmp_path / f"{model}.json") for model, _ in images]
    snakemake.input.metadata = [str(sample.metadata)] * 4
    compare.main(snakemake)
    table = pd.read_csv(snakemake.output.comparison, sep="\t")
    assert list(zip(table["model"], table["sample"], strict=True)) == images
    (pair,) = pd.read_csv(snakemake.output.pairs, sep="\t").to_dict("records")
    assert (pair["first"], pair["second"], pair["images"], pair["second_better"]) == ("bad", "good", 2, 2)
    assert pair["mean_difference"] == pytest.approx(found["ap"][0])
    summary = pd.read_csv(snakemake.output.summary, sep="\t")
    assert summary["model"].tolist() == ["bad"] * 3 + ["good"] * 3
    page = Path(snakemake.output.page).read_text()
    assert page.index("| good |") < page.index("| bad |")
    assert "(comparison.png)" in page
    assert Path(snakemake.output.curves).stat().st_size > 1000
