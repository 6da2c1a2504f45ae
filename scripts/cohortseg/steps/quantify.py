"""Step quantify: polygons.parquet and the image in, cells.parquet and a picture for the report out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field
from cohortseg.errors import ImageError, SettingsError
from cohortseg.kernels.resample import resample, source_box
from cohortseg.quantify import PAIRS, Wanted, add_neighbours, measure_cells
from cohortseg.report.overlay import overlay
from cohortseg.segment.inputs import ChannelMix
from cohortseg.settings import QuantifySettings, SegmentSettings, load_block
from cohortseg.settings.blocks import OTHER_TABLES
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.planes import ReadLabels, label_reader, read_metadata
from cohortseg.stores.channels import ChannelGroup, channel_indices
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.polygons import read_polygons
from cohortseg.stores.source import ImageSource, PageSelection
from cohortseg.stores.tables import parquet_parts, write_csv, write_parquet, write_png
from cohortseg.tiling import blocks

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
            preview=Path(snakemake.output.preview),
            settings=load_block(QuantifySettings, snakemake.params.settings["quantify"]),
            thumbnail_px=snakemake.params.settings["report"]["thumbnail_px"],
            nuclei=nuclei,
        )

    run_job(snakemake, step)


def quantify_file(
    image: Location,
    polygons: Path,
    metadata: Path,
    *,
    cells: Path,
    preview: Path,
    settings: QuantifySettings,
    thumbnail_px: int,
    nuclei: tuple[Path, Path] | None = None,
) -> None:
    """Measure the cells of one image, block by block, and draw them over it.

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
        if source.shape != shape:
            raise ImageError(
                f"{image.name} is {source.shape[0]} x {source.shape[1]} px now",
                f"it was {shape[0]} x {shape[1]} px when it was segmented",
                "Segment it again.",
            )
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
        write_png(preview, draw_preview(source, read_labels, facts, side_px=thumbnail_px))


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


def draw_preview(
    source: ImageSource, read_labels: ReadLabels, metadata: dict[str, Any], *, side_px: int
) -> NDArray[np.uint8]:
    """Return a picture, at most `side_px` on its longer side, of the channels that were segmented with the outlines.

    The image is shrunk block by block, so that its size does not matter; (y, x, 3) uint8.
    """
    scale = min(1.0, side_px / max(source.shape))
    shape = (max(1, round(source.shape[0] * scale)), max(1, round(source.shape[1] * scale)))
    mix, limits = shown_channels(source, metadata)
    light = np.zeros((len(mix.groups), *shape), np.float32)
    labels = np.zeros(shape, np.uint32)
    rows = (2 * np.arange(shape[0]) + 1) * source.shape[0] // (2 * shape[0])
    columns = (2 * np.arange(shape[1]) + 1) * source.shape[1] // (2 * shape[1])
    for box in blocks(source.shape, _BLOCK_PX):
        (y0, y1), (x0, x1) = np.searchsorted(rows, (box.y0, box.y1)), np.searchsorted(columns, (box.x0, box.x1))
        target = Box(int(y0), int(x0), int(y1), int(x1))
        if target.height and target.width:
            nearest = np.ix_(rows[y0:y1] - box.y0, columns[x0:x1] - box.x0)
            labels[target.slices] = read_labels(box)[nearest]
            light[:, *target.slices] = _shrunk(source, mix, target, shape)
    return overlay(light, labels, limits=limits, is_rgb=source.is_rgb)


def _shrunk(source: ImageSource, mix: ChannelMix, target: Box, shape: tuple[int, int]) -> Field:
    needed = source_box(target, shape, source.shape)
    planes = np.stack(mix.inputs(source.read(mix.channels, needed)))
    return resample(planes, needed, source.shape, target, shape)


def shown_channels(source: ImageSource, metadata: Mapping[str, Any]) -> tuple[ChannelMix, list[tuple[float, float]]]:
    """Return what to draw, a colour picture or the network's inputs, and the values that are black and full light."""
    if source.is_rgb:
        full = float(np.iinfo(source.dtype).max) if source.dtype.kind == "u" else 1.0
        colours = tuple(ChannelGroup((i,), "sum", name) for i, name in enumerate(source.channels))
        return ChannelMix(colours), [(0.0, full)] * 3
    normalisation = metadata["normalisation"]
    pairs = zip(normalisation["lower"], normalisation["upper"], strict=True)
    # Null where the image has no values at all: nothing is shown then.
    limits = [(0.0, 0.0) if None in pair else pair for pair in pairs]
    groups = (ChannelGroup(tuple(each["channels"]), each["join"], each["name"]) for each in metadata["inputs"])
    return ChannelMix(tuple(groups)), limits
