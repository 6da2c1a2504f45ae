"""Step overlaps: the polygons of two planes of a stack in, the cells that share pixels out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from cohortseg.errors import StackError
from cohortseg.steps.job import run_job
from cohortseg.steps.planes import read_metadata
from cohortseg.stitch.sweep import sweep_overlaps
from cohortseg.stores.tables import write_parquet
from cohortseg.stores.wkb import WkbFile


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        below, above = map(Path, snakemake.input.polygons)
        shape = _common_shape(*map(Path, snakemake.input.metadata))
        overlaps = overlap_files(below, above, shape, workers=snakemake.threads)
        write_parquet(Path(snakemake.output.overlaps), overlaps)

    run_job(snakemake, step, part=snakemake.params.pair)


def _common_shape(below: Path, above: Path) -> tuple[int, int]:
    """Return the (y, x) shape of two planes; StackError where they differ."""
    shapes = [read_metadata(metadata)[1] for metadata in (below, above)]
    if shapes[0] != shapes[1]:
        raise StackError(
            f"{below.parent.name} is {shapes[0][0]} × {shapes[0][1]} px and {above.parent.name} is "
            f"{shapes[1][0]} × {shapes[1][1]} px",
            "all planes of a stack have one shape",
            "Check that these images belong to one stack and were opened at one level.",
        )
    return shapes[0]


def overlap_files(
    below: Path,
    above: Path,
    shape: tuple[int, int],
    *,
    workers: int,
    on_read: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Find the cells of two files of polygons that share pixels; see `stitch.sweep.sweep_overlaps`.

    Parameters
    ----------
    below, above
        Two polygons.parquet, of cohortseg or another program.
    shape
        (y, x) of both planes in pixels.
    workers
        Threads; the result does not depend on it.
    on_read
        Called with the pixels that were done, 2 · y · x of them in all.

    Returns
    -------
    DataFrame
        `lower_id`, `upper_id`, `overlap_px` (int64) and `iou` (float64), sorted by `lower_id`, then `upper_id`.

    Raises
    ------
    MissingFileError
        There is no such file.
    TableError
        A file is damaged, or holds what are no cells.
    """
    with WkbFile(below) as one, WkbFile(above) as other:
        return sweep_overlaps(one, other, shape, workers=workers, on_read=on_read)
