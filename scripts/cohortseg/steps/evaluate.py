"""Step evaluate: polygons.parquet and a ground truth in, their agreement as evaluation.json out."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cohortseg.errors import ImageError
from cohortseg.evaluate import THRESHOLDS, evaluate_image
from cohortseg.steps.flagged import NONE, FaultyCells
from cohortseg.steps.job import run_job
from cohortseg.steps.planes import label_reader, read_metadata
from cohortseg.stores.tables import open_label_image, write_json


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        metadata, shape = read_metadata(Path(snakemake.input.metadata))
        evaluation = evaluate_file(
            Path(snakemake.input.polygons), Path(snakemake.input.labels), shape=shape, plane=metadata["page"]
        )
        write_json(Path(snakemake.output.evaluation), evaluation)

    run_job(snakemake, step)


def evaluate_file(
    polygons: Path, labels: Path, *, shape: tuple[int, int], plane: int, faulty: FaultyCells = NONE
) -> dict[str, Any]:
    """Return how a file of polygons agrees with a label image: the counts and scores of `evaluate.Counts`, by name.

    Parameters
    ----------
    shape
        (y, x) of the segmented image.
    plane
        The plane that was segmented; of ground truth with several planes, the one to compare with.
    faulty
        Cells of the label image that are left out, see `evaluate_image`.

    Raises
    ------
    ImageError
        If the ground truth has another shape than the segmented image.
    TableError
        If a faulty cell is not where it was flagged.
    """
    with open_label_image(labels, plane) as truth:
        if truth.shape != shape:
            raise ImageError(
                f"the ground truth {labels.name} is {truth.shape[0]} x {truth.shape[1]} px",
                f"the image is {shape[0]} x {shape[1]} px",
                "Correct labels in config/samples.tsv.",
            )
        faulty.require_in(labels, truth.read, shape)
        counts = evaluate_image(truth.read, label_reader(polygons), shape, left_out=faulty.cell_ids)
    return {"labels": str(labels), "thresholds": list(THRESHOLDS), **asdict(counts), **counts.scores()}
