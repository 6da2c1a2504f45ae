"""Step quantify: polygons.parquet and the image in, cells.parquet and what else is asked for beside it out."""

from pathlib import Path
from typing import Any

from cohortseg.errors import ImageError, SettingsError
from cohortseg.quantify import PAIRS, Wanted, add_neighbours, measure_cells
from cohortseg.settings import QuantifySettings, SegmentSettings, load_block
from cohortseg.settings.blocks import OTHER_TABLES
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.planes import ReadLabels, check_shape, label_reader, read_metadata
from cohortseg.stores.channels import channel_indices
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.polygons import read_polygons
from cohortseg.stores.source import PageSelection
from cohortseg.stores.tables import parquet_parts, write_csv, write_parquet

_BLOCK_PX = 1024


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        files = snakemake.input.nuclei, snakemake.input.nuclei_metadata
        nuclei = (Path(files[0]), Path(files[1])) if all(files) else None
        quantify_file(
            image_of(snakemake),
            Path(snakemake.input.polygons),
            Path(snakemake.input.metadata),
            cells=Path(snakemake.output.cells),
            settings=load_block(QuantifySettings, snakemake.params.settings["quantify"]),
            nuclei=nuclei,
        )

    run_job(snakemake, step)


def quantify_file(
    image: Location,
    polygons: Path,
    metadata: Path,
    *,
    cells: Path,
    settings: QuantifySettings,
    nuclei: tuple[Path, Path] | None = None,
) -> None:
    """Measure the cells of one image, block by block.

    What else the settings ask for is written beside the table of cells.

    Parameters
    ----------
    nuclei
        polygons.parquet and metadata.json of the sample whose cells are the nuclei of these; None where there is none.

    Raises
    ------
    ImageError
        If the image, or that of the nuclei, has another shape than when the cells were segmented.
    SettingsError
        If a distance in µm is asked for, and the size of the pixels is not known.
    ChannelError
        If a channel that is to be measured is not in the image.
    """
    facts, shape = read_metadata(metadata)
    pixel_size_um = facts.get("pixel_size_um")
    distance_px = _distance_px(settings, pixel_size_um, image.name)
    read_labels = label_reader(polygons)
    read_nuclei = None if nuclei is None else _nuclei_reader(*nuclei, shape)
    with open_image(image, PageSelection.of(load_block(SegmentSettings, facts["settings"]))) as source:
        check_shape(source, shape)
        wanted = range(len(source.channels)) if settings.channels is None else settings.channels
        channels = channel_indices(source, tuple(wanted))
        names = [source.channels[i] for i in channels]
        table = measure_cells(
            read_labels,
            source,
            Wanted(channels, names, settings.statistics, settings.percentiles, settings.ring_px, settings.background),
            read_polygons(polygons, columns=None, box=None),
            block_px=_BLOCK_PX,
            pixel_size_um=pixel_size_um,
            read_nuclei=read_nuclei,
        )
        if distance_px is not None:
            with parquet_parts(cells.with_name("neighbours.parquet"), PAIRS) as append:
                table = add_neighbours(table, distance_px, append)
        write_parquet(cells, table)
        if settings.csv:
            write_csv(cells.with_name("cells.csv"), table)
        for file in set(OTHER_TABLES.values()).difference(settings.others().values()):
            cells.with_name(file).unlink(missing_ok=True)  # what other settings left would not be of these cells


def _nuclei_reader(polygons: Path, metadata: Path, shape: tuple[int, int]) -> ReadLabels:
    """Return what draws the nuclei of cells in an image of `shape`, which has to be the nuclei's, too."""
    facts, own = read_metadata(metadata)
    if own != shape:
        raise ImageError(
            f"the image of the nuclei, {facts.get('image')}, is {own[0]} x {own[1]} px",
            f"that of the cells is {shape[0]} x {shape[1]} px, and both have to be of one size",
            "Correct the column nuclei in config/samples.tsv.",
        )
    return label_reader(polygons)


def _distance_px(settings: QuantifySettings, pixel_size_um: float | None, name: str) -> float | None:
    """Return how far neighbours are at most from each other; None where they are not asked for."""
    if settings.neighbours_um is None:
        return settings.neighbours_px
    if pixel_size_um is None:
        raise SettingsError(
            f"quantify.neighbours_um is set, and the size of a pixel of {name} is not known",
            "a distance in µm needs one",
            "Set pixel_size_um in config/samples.tsv, or quantify.neighbours_px.",
        )
    return settings.neighbours_um / pixel_size_um
