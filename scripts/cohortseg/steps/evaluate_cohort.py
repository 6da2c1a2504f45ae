"""Step evaluate_cohort: the evaluations of all labelled samples in, their tables and curves out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cohortseg.evaluate.counts import Counts
from cohortseg.evaluate.tables import Scored, summarise_scores, tabulate
from cohortseg.report import curves_png
from cohortseg.steps.job import run_job
from cohortseg.stores.tables import read_json, write_bytes, write_tsv


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        output = snakemake.output
        results = Path(output.evaluation).parent.parent
        images = [
            read_scored(
                results / sample / "evaluation.json", read_json(results / sample / "metadata.json"), sample=sample
            )
            for sample in snakemake.params.samples
        ]
        write_evaluations(images, Path(output.evaluation), Path(output.summary), Path(output.curves))

    run_job(snakemake, step)


def write_evaluations(images: Sequence[Scored], table: Path, summary: Path, curves: Path) -> None:
    """Write the table of images, its summary and the plot of average precision over thresholds."""
    summarised = summarise_scores(images)
    write_tsv(table, tabulate(images))
    write_tsv(summary, summarised)
    write_bytes(curves, curves_png(summarised))


def read_scored(evaluation: Path, metadata: Mapping[str, Any], *, sample: str, model: str | None = None) -> Scored:
    """Return one image's evaluation with what its metadata.json tells.

    Parameters
    ----------
    model
        Its name; None: what the metadata say.
    """
    height, width = metadata["mask_shape"]
    return Scored(
        sample=sample,
        model=metadata["model"]["name"] if model is None else model,
        modality=metadata["modality"],
        counts=Counts.read(read_json(evaluation)),
        seconds=metadata["seconds"]["total"],
        mpx=height * width / 1e6,
    )
