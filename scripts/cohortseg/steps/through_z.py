"""A picture of a few 3D cells through the planes of their stack."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.report.overlay import Picture
from cohortseg.report.through_z import draw_cell, draw_multiples
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.steps.pictures import shown_channels
from cohortseg.steps.planes import ReadLabels, read_metadata
from cohortseg.steps.stack_files import PlaneFiles
from cohortseg.stores.images import open_image
from cohortseg.stores.source import ImageSource, PageSelection
from cohortseg.stores.tables import write_png

_MOST_CELLS = 6
_MOST_PLANES = 12
_SMALLEST_SIDE_PX, _LARGEST_SIDE_PX = 32, 512
_SIDE_BY_RADIUS = 3.2
"""Side of the square around a cell, in radii of a disc of its largest area."""


def write_through_z(
    path: Path,
    planes: Sequence[PlaneFiles],
    cells: pd.DataFrame,
    objects: pd.DataFrame,
    readers: Mapping[int, ReadLabels],
) -> dict[str, Any]:
    """Draw a few cells of a stack, a row each, through at most 12 of its planes, a column each.

    The cells are those with at least the median number of planes among those in several, evenly spread over their
    volumes. Behind them is the image that was segmented, where it is still where metadata.json says, else plain ground.

    Parameters
    ----------
    planes
        In z order.
    cells, objects
        The rows of `link_stack` with `area_px`, and of `summarise_objects`.
    readers
        By z_index: draws a box with the objects' ids.

    Returns
    -------
    dict
        `cells` (ids, from the top), `z_index` (from the left) and `images`, in how many of the planes one was found.
    """
    chosen = choose_cells(objects)
    shown = _spread(len(planes), _MOST_PLANES)
    largest = cells.groupby("cell_id")["area_px"].max()
    boxes = [_square(objects.iloc[row], float(largest.loc[objects["cell_id"].iloc[row]])) for row in chosen]
    ids = objects["cell_id"].to_numpy()[chosen].tolist()
    columns: list[list[Picture | None]] = []
    n_images = 0
    for place in shown:
        with ExitStack() as opened:
            plane = planes[place]
            facts, shape = read_metadata(plane.folder / "metadata.json")
            source = _open(facts, shape, opened)
            n_images += source is not None
            cut = partial(_tile, readers[plane.z_index], source, facts, shape)
            columns.append([cut(cell_id, box) for cell_id, box in zip(ids, boxes, strict=True)])
    names = [f"z {planes[place].z_index}" for place in shown]
    rows = [[column[row] for column in columns] for row in range(len(ids))]
    write_png(path, draw_multiples(rows, [f"cell {cell_id}" for cell_id in ids], names))
    return {"cells": ids, "z_index": [planes[place].z_index for place in shown], "images": n_images}


def choose_cells(objects: pd.DataFrame) -> NDArray[np.int64]:
    """Return the rows of the objects to draw, by falling volume; of equal volumes the smaller id first."""
    several = np.flatnonzero(objects["n_planes"] > 1)
    if not several.size:
        several = np.arange(len(objects))
    n_planes = objects["n_planes"].to_numpy()[several]
    long = several[n_planes >= np.median(n_planes)] if several.size else several
    by_volume = long[np.argsort(-objects["volume_px"].to_numpy()[long], kind="stable")]
    return by_volume[_spread(by_volume.size, _MOST_CELLS)]


def _spread(number: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` evenly spread places of `number`, the first and the last among them."""
    return np.unique(np.linspace(0, max(number - 1, 0), min(number, most)).round().astype(np.int64))


def _square(cell: pd.Series, largest_area_px: float) -> Box:
    """Return the square around an object's centre; it may reach beyond the image."""
    side = int(np.clip(_SIDE_BY_RADIUS * np.sqrt(largest_area_px / np.pi), _SMALLEST_SIDE_PX, _LARGEST_SIDE_PX))
    y, x = int(cell["centroid_y"]) - side // 2, int(cell["centroid_x"]) - side // 2
    return Box(y, x, y + side, x + side)


def _open(facts: Mapping[str, Any], shape: tuple[int, int], opened: ExitStack) -> ImageSource | None:
    """Open the image that a plane was segmented from, or return None where it is gone or another by now."""
    if not all(key in facts for key in ("image", "settings", "normalisation", "inputs")):
        return None
    if not Path(facts["image"]).exists():
        return None
    page = PageSelection.of(load_block(SegmentSettings, facts["settings"]))
    source = opened.enter_context(open_image(Path(facts["image"]), page))
    return source if source.shape == shape else None


def _tile(
    read: ReadLabels,
    source: ImageSource | None,
    facts: Mapping[str, Any],
    shape: tuple[int, int],
    cell_id: int,
    box: Box,
) -> Picture:
    """Return the small picture of one cell in one plane; beyond the image's edge there is nothing."""
    inside = box.intersection(Box(0, 0, *shape))
    pad = ((inside.y0 - box.y0, box.y1 - inside.y1), (inside.x0 - box.x0, box.x1 - inside.x1))
    labels = np.pad(read(inside), pad)
    if source is None:
        return draw_cell(None, labels, cell_id, (), is_rgb=False)
    mix, limits = shown_channels(source, facts)
    image = np.pad(np.stack(mix.inputs(source.read(mix.channels, inside))), ((0, 0), *pad))
    return draw_cell(image, labels, cell_id, limits, is_rgb=source.is_rgb)
