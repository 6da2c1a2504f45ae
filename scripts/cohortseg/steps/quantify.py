"""Step quantify: polygons.parquet and the image in, cells.parquet out."""

from pathlib import Path
from typing import Any

from cohortseg.quantify import Wanted, measure_cells
from cohortseg.settings import QuantifySettings, SegmentSettings, load_block
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.planes import check_shape, label_reader, read_metadata
from cohortseg.stores.channels import channel_indices
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.polygons import read_polygons
from cohortseg.stores.source import PageSelection
from cohortseg.stores.tables import write_parquet

_BLOCK_PX = 1024


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        quantify_file(
            image_of(snakemake),
            Path(snakemake.input.polygons),
            Path(snakemake.input.metadata),
            cells=Path(snakemake.output.cells),
            settings=load_block(QuantifySettings, snakemake.params.settings["quantify"]),
        )

    run_job(snakemake, step)


def quantify_file(
    image: Location,
    polygons: Path,
    metadata: Path,
    *,
    cells: Path,
    settings: QuantifySettings,
) -> None:
    """Measure the cells of one image, block by block.

    Raises
    ------
    ImageError
        If the image has another shape than when it was segmented.
    ChannelError
        If a channel that is to be measured is not in the image.
    """
    facts, shape = read_metadata(metadata)
    read_labels = label_reader(polygons)
    with open_image(image, PageSelection.of(load_block(SegmentSettings, facts["settings"]))) as source:
        check_shape(source, shape)
        wanted = range(len(source.channels)) if settings.channels is None else settings.channels
        channels = channel_indices(source, tuple(wanted))
        names = [source.channels[i] for i in channels]
        table = measure_cells(
            read_labels,
            source,
            Wanted(channels, names, settings.statistics, settings.percentiles),
            read_polygons(polygons, columns=None, box=None),
            block_px=_BLOCK_PX,
            pixel_size_um=facts.get("pixel_size_um"),
        )
        write_parquet(cells, table)
