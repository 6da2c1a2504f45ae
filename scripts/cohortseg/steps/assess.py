"""Step assess: the image and its cells in; what tells whether to trust them, and pictures for the report, out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cohortseg.arrays import Box, Image
from cohortseg.quality import CELL_COLUMNS, ChannelQuality, Segmented, TileCover, describe_cells
from cohortseg.report.crops import CROP_COLUMNS, choose_cells, draw_crops
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.pictures import Preview, normal_range, segmented_inputs, shown_channels
from cohortseg.steps.planes import ReadLabels, check_shape, label_reader, read_metadata
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.source import ImageSource, PageSelection
from cohortseg.stores.tables import read_parquet, write_json, write_png
from cohortseg.tiling import blocks

_BLOCK_PX = 1024
_CROP_PX = 128
_GOOD_CELLS = _DOUBTFUL_CELLS = 5


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        assess_file(
            image_of(snakemake),
            Path(snakemake.input.polygons),
            Path(snakemake.input.metadata),
            Path(snakemake.input.cells),
            quality=Path(snakemake.output.quality),
            preview=Path(snakemake.output.preview),
            crops=Path(snakemake.output.crops),
            thumbnail_px=snakemake.params.settings["report"]["thumbnail_px"],
        )

    run_job(snakemake, step)


def assess_file(
    image: Location,
    polygons: Path,
    metadata: Path,
    cells: Path,
    *,
    quality: Path,
    preview: Path,
    crops: Path,
    thumbnail_px: int,
) -> None:
    """Measure what tells of the quality of an image and its cells, and draw it with some of them, block by block.

    Raises
    ------
    ImageError
        If the image has another shape than when it was segmented.
    """
    facts, shape = read_metadata(metadata)
    table = _read_cells(cells, polygons)
    read_labels = label_reader(polygons)
    with open_image(image, PageSelection.of(load_block(SegmentSettings, facts["settings"]))) as source:
        check_shape(source, shape)
        drawn = Preview(source, facts, thumbnail_px)
        found = assess_pixels(source, read_labels, facts, drawn, table)
        chosen = choose_cells(table[list(CROP_COLUMNS)], _GOOD_CELLS, _DOUBTFUL_CELLS)
        mix, limits = shown_channels(source, facts)

        def read_shown(box: Box) -> Image:
            return np.stack(mix.inputs(source.read(mix.channels, box)))

        strip = draw_crops(
            read_shown, read_labels, chosen, source.shape, side_px=_CROP_PX, limits=limits, is_rgb=source.is_rgb
        )
    described = describe_cells(table, table["flow_error"].to_numpy(np.float32))
    write_json(quality, {**described, **found, "crops": {"side_px": _CROP_PX, "cells": chosen}})
    write_png(preview, drawn.draw())
    write_png(crops, strip)


def assess_pixels(
    source: ImageSource, read_labels: ReadLabels, facts: Mapping[str, Any], drawn: Preview, cells: pd.DataFrame
) -> dict[str, Any]:
    """Return `area_mpx`, `channels` and `tiles` of quality.json, and add the image to a preview: it is read once.

    Parameters
    ----------
    facts
        metadata.json.
    cells
        `area_px`, `centroid_x` and `centroid_y`, a row a cell.
    """
    mix, ranges = segmented_inputs(facts), [abs(upper - lower) for lower, upper in normal_range(facts)]
    boxes = list(blocks(source.shape, _BLOCK_PX))
    every = range(len(source.channels))
    channels = ChannelQuality(Segmented(source.channels, mix.channels), source.dtype, _blocks_with_cells(cells))
    diameter_px = float(2 * np.sqrt(cells["area_px"].median() / np.pi)) if len(cells) else 0.0
    tiles = TileCover(source.shape, diameter_px, ranges)
    for box in boxes:
        rim, needed = box.grown(channels.rim_px, source.shape), drawn.needs(box)
        held = Box(*np.minimum(rim[:2], needed[:2]).tolist(), *np.maximum(rim[2:], needed[2:]).tolist())
        pixels, labels = source.read(every, held), read_labels(held)
        drawn.add(pixels, labels, held, box)
        channels.add(pixels, labels, held, box)
        inputs = [plane.astype(np.float32) for plane in mix.inputs(pixels[list(mix.channels)])]
        tiles.add(inputs, labels, held, box)
    return {
        "area_mpx": source.shape[0] * source.shape[1] / 1e6,
        "channels": channels.result(),
        "tiles": tiles.result(),
    }


def _blocks_with_cells(cells: pd.DataFrame) -> int:
    return len(np.unique(cells[["centroid_y", "centroid_x"]].to_numpy(float) // _BLOCK_PX, axis=0))


def _read_cells(cells: Path, polygons: Path) -> pd.DataFrame:
    """Return the columns that are looked at of each cell, with `flow_error`, which polygons.parquet has."""
    wanted = dict.fromkeys(name for name in (*CROP_COLUMNS, *CELL_COLUMNS) if name != "flow_error")
    table = read_parquet(cells, list(wanted))
    errors = read_parquet(polygons, ["cell_id", "flow_error"])
    return table.merge(errors, on="cell_id", how="left", validate="one_to_one")
