"""Step evaluate: polygons.parquet and a ground truth in, their agreement as evaluation.json out."""

from pathlib import Path
from typing import Any

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.evaluate.matching import average_precision
from cohortseg.steps.job import run_job
from cohortseg.steps.planes import label_reader, read_metadata
from cohortseg.stores.tables import read_label_image, write_json

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Intersections over union at which cells are matched."""


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        metadata, shape = read_metadata(Path(snakemake.input.metadata))
        evaluation = evaluate_file(
            Path(snakemake.input.polygons), Path(snakemake.input.labels), shape=shape, plane=metadata["page"]
        )
        write_json(Path(snakemake.output.evaluation), evaluation)

    run_job(snakemake, step)


def evaluate_file(polygons: Path, labels: Path, *, shape: tuple[int, int], plane: int) -> dict[str, Any]:
    """Return average precision, F1 and counts of a file of polygons against a label image.

    Parameters
    ----------
    shape
        (y, x) of the segmented image.
    plane
        The plane that was segmented; of ground truth with several planes, the one to compare with.

    Raises
    ------
    ImageError
        If the ground truth has another shape than the segmented image.
    """
    truth = read_label_image(labels, plane)
    if truth.shape != shape:
        raise ImageError(
            f"the ground truth {labels.name} is {truth.shape[0]} x {truth.shape[1]} px",
            f"the image is {shape[0]} x {shape[1]} px",
            "Correct labels in config/samples.tsv.",
        )
    result = average_precision(truth, label_reader(polygons)(Box(0, 0, *shape)), THRESHOLDS)
    return {
        "labels": str(labels),
        "thresholds": list(THRESHOLDS),
        "ap": result.ap.tolist(),
        "f1": result.f1.tolist(),
        "tp": result.tp.tolist(),
        "fp": result.fp.tolist(),
        "fn": result.fn.tolist(),
    }
