"""Step compare: the evaluations of every compared model on every labelled sample in, tables and curves out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cohortseg.evaluate.pairs import compare_pairs
from cohortseg.evaluate.tables import Scored, summarise_scores, tabulate
from cohortseg.report import curves_png, render_comparison
from cohortseg.steps.evaluate_cohort import read_scored
from cohortseg.steps.job import run_job
from cohortseg.stores.tables import read_json, write_bytes, write_tsv

SCORE = "ap_50"
"""What pairs of models are compared by."""


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        files = zip(snakemake.params.images, snakemake.input.evaluations, snakemake.input.metadata, strict=True)
        metadata = {}
        images = []
        for (model, sample), evaluation, path in files:
            metadata[model] = read_json(Path(path))
            images.append(read_scored(Path(evaluation), metadata[model], sample=sample, model=model))
        write_comparison(images, metadata, snakemake.output)

    run_job(snakemake, step)


def write_comparison(images: list[Scored], metadata: Mapping[str, Mapping[str, Any]], output: Any) -> None:
    """Write the tables, the plot and the page in Markdown.

    Parameters
    ----------
    metadata
        For each model, metadata.json of one of its images: which network it was, and what ran it.
    output
        Paths as attributes: comparison, summary, pairs, curves, page.
    """
    table, summary = tabulate(images), summarise_scores(images)
    pairs = compare_pairs(table, SCORE)
    write_tsv(Path(output.comparison), table)
    write_tsv(Path(output.summary), summary)
    write_tsv(Path(output.pairs), pairs)
    write_bytes(Path(output.curves), curves_png(summary))
    page = render_comparison(summary, pairs, _describe(metadata), curves=Path(output.curves).name)
    write_bytes(Path(output.page), page.encode())


def _describe(metadata: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return what each model is, a row each."""
    rows = [
        {
            "name": name,
            "model": facts["model"]["name"],
            "sha256": (facts["model"]["sha256"] or "")[:12],
            "diameter px": facts["settings"]["diameter"],
            "device": facts["device"],
            "backend": facts["backend"],
            "precision": facts["precision"],
        }
        for name, facts in metadata.items()
    ]
    return pd.DataFrame(rows)
