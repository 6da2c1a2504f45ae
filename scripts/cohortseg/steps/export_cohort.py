"""Step export_cohort: the cells of all samples in, one AnnData file out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cohortseg.exports import CellSource
from cohortseg.exports.anndata import write_cohort
from cohortseg.steps.job import run_job
from cohortseg.steps.planes import read_metadata


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""
    params = snakemake.params
    run_job(snakemake, lambda: export_cohort(Path(snakemake.output.cells), Path(params.results), params.samples))


def export_cohort(output: Path, results: Path, samples: Sequence[str]) -> None:
    """Write the cells of samples, whose folders lie in `results`, as one .h5ad.

    Raises
    ------
    MissingExtraError, MissingFileError, TableError
        As `exports.write_anndata` for each.
    """
    folders = [results / name for name in samples]
    write_cohort(
        output,
        [
            CellSource(
                folder.name,
                folder / "polygons.parquet",
                folder / "cells.parquet",
                read_metadata(folder / "metadata.json")[0],
            )
            for folder in folders
        ],
    )
