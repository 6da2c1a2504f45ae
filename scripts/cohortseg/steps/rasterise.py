"""Step rasterise: polygons.parquet in, the same cells as a label pyramid, mask.zarr, out."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cohortseg.settings import RasteriseSettings, load_block
from cohortseg.steps.job import run_job
from cohortseg.steps.planes import label_reader, read_metadata
from cohortseg.stores.labels import LabelLayout, write_labels
from cohortseg.stores.polygons import polygon_bounds


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        settings = load_block(RasteriseSettings, snakemake.params.settings["rasterise"])
        metadata, shape = read_metadata(Path(snakemake.input.metadata))
        rasterise_file(
            Path(snakemake.input.polygons),
            Path(snakemake.output.mask),
            settings,
            shape=shape,
            name=snakemake.params.sample,
            pixel_size_um=metadata.get("pixel_size_um"),
            workers=snakemake.threads,
        )

    run_job(snakemake, step)


def rasterise_file(
    polygons: Path,
    mask: Path,
    settings: RasteriseSettings,
    *,
    shape: tuple[int, int],
    name: str,
    pixel_size_um: float | None,
    workers: int,
    on_read: Callable[[int], None] | None = None,
) -> None:
    """Draw a file of polygons into a label pyramid, shard by shard; `on_read` is told the pixels of each."""
    layout = LabelLayout(
        name=name,
        chunk_px=settings.chunk_px,
        shard_px=settings.shard_px,
        pixel_size_um=pixel_size_um,
        z_step_um=None,
    )
    write_labels(mask, shape, label_reader(polygons, on_read), layout=layout, workers=workers)


def shape_of_polygons(polygons: Path) -> tuple[int, int]:
    """Return the smallest (y, x) shape that holds a file's polygons, at least one pixel, for want of metadata."""
    bounds = polygon_bounds(polygons)
    if bounds is None:
        return 1, 1
    return max(1, math.ceil(bounds[3])), max(1, math.ceil(bounds[2]))
