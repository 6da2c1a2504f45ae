"""Step rasterise: polygons.parquet in, the same cells as a label pyramid, mask.zarr, out."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cohortseg.arrays import Box, Labels
from cohortseg.settings import RasteriseSettings, load_block
from cohortseg.shapes.borders import inner_borders
from cohortseg.steps.job import run_job
from cohortseg.steps.planes import ReadLabels, label_reader, read_metadata
from cohortseg.stores.label_tiff import write_label_tiff
from cohortseg.stores.labels import LabelLayout, open_labels, write_labels
from cohortseg.stores.polygons import polygon_bounds

_LOGGER = logging.getLogger("cohortseg")


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
) -> int:
    """Draw a file of polygons into a label pyramid, shard by shard, and what else the settings ask for beside it.

    Where polygons overlap, later rows win; the pixels that they take are counted, in the mask's attributes too.

    Parameters
    ----------
    on_read
        Told the pixels of each shard of the mask that was drawn.

    Returns
    -------
    int
        Pixels that a cell took from another.
    """
    overlaps: list[int] = []
    layout = LabelLayout(
        name=name,
        chunk_px=settings.chunk_px,
        shard_px=settings.shard_px,
        pixel_size_um=pixel_size_um,
        z_step_um=None,
        zarr_format=settings.zarr_format,
    )
    read = label_reader(polygons, on_read, overlaps.append)
    write_labels(mask, shape, read, layout=layout, workers=workers, notes=lambda: {"overlapped_px": sum(overlaps)})
    if overlapped_px := sum(overlaps):
        _LOGGER.warning("%s: polygons overlap; later rows took %d px from earlier ones", name, overlapped_px)
    if settings.boundaries:
        boundaries = boundary_reader(label_reader(polygons), shape)
        write_labels(mask.with_name("boundaries.zarr"), shape, boundaries, layout=layout, workers=workers)
    if settings.tiff:
        tiff = mask.with_name("mask.tif")
        write_label_tiff(tiff, open_labels(mask), pixel_size_um=pixel_size_um, workers=workers)
    return overlapped_px


def boundary_reader(read: ReadLabels, shape: tuple[int, int]) -> ReadLabels:
    """Return a function that gives labels of any box with only those pixels that have a 4-neighbour of another value.

    The edge of the image, (y, x) in `shape`, is no boundary.
    """

    def read_boundaries(box: Box) -> Labels:
        grown = box.grown(1, shape)
        labels = read(grown)
        labels[~inner_borders(labels)] = 0
        return labels[box.shifted(-grown.y0, -grown.x0).slices]

    return read_boundaries


def shape_of_polygons(polygons: Path) -> tuple[int, int]:
    """Return the smallest (y, x) shape that holds a file's polygons, at least one pixel, for want of metadata."""
    bounds = polygon_bounds(polygons)
    if bounds is None:
        return 1, 1
    return max(1, math.ceil(bounds[3])), max(1, math.ceil(bounds[2]))
