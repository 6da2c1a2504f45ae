"""A sample's cells as labels, drawn box by box from its polygons.parquet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.arrays import Box, Labels
from cohortseg.errors import ImageError, MissingFileError, TableError
from cohortseg.kernels.raster import draw_wkb
from cohortseg.shapes import label_values
from cohortseg.stores.polygons import BoxReader
from cohortseg.stores.source import ImageSource
from cohortseg.stores.tables import read_json

ReadLabels = Callable[[Box], Labels]
"""Draws the cells of a box: (y, x) uint32, 0 is background."""


def polygons_of(folder: Path) -> list[Path]:
    """Return the polygons.parquet of a folder, or those of its folders, by name.

    Raises
    ------
    MissingFileError
        There is none.
    """
    own = folder / "polygons.parquet"
    found = [own] if own.is_file() else sorted(folder.glob("*/polygons.parquet"))
    if not found:
        raise MissingFileError(
            f"{folder} holds no polygons.parquet",
            "a folder of results, as of `cohortseg infer`, or one with such folders, was expected",
            "Correct the path, or segment first.",
        )
    return found


def label_reader(
    polygons: Path,
    on_read: Callable[[int], None] | None = None,
    on_overlap: Callable[[int], None] | None = None,
) -> ReadLabels:
    """Return a function that draws the cells of any box, from any thread; only row groups that meet it are read.

    Where polygons overlap, later rows win.

    Parameters
    ----------
    on_read
        Called with the pixels of each box that was drawn, to show progress.
    on_overlap
        Called for each box with how many of its pixels one cell took from another.
    """

    cells = BoxReader(polygons)

    def read(box: Box) -> Labels:
        labels = np.zeros(box.shape, np.uint32)
        overlapped_px = 0
        for rows in cells.read(box):
            values = label_values(rows.cell_ids, len(rows.cell_ids))
            overlapped_px += draw_wkb(rows.data, rows.offsets, values, labels, (box.y0, box.x0), rows.first_row)
        if on_overlap is not None:
            on_overlap(overlapped_px)
        if on_read is not None:
            on_read(labels.size)
        return labels

    return read


def read_metadata(path: Path) -> tuple[dict[str, Any], tuple[int, int]]:
    """Return metadata.json and the (y, x) shape of its masks.

    Raises
    ------
    TableError
        If the file is damaged or states no shape.
    """
    metadata = read_json(path)
    shape = metadata.get("mask_shape")
    if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise TableError(
            f"{path} states mask_shape {shape!r}",
            "height and width in pixels were expected",
            "Segment the image again.",
        )
    return metadata, (shape[0], shape[1])


def check_shape(source: ImageSource, shape: tuple[int, int]) -> None:
    """Raise ImageError where an image is not of the (y, x) shape that it was segmented in."""
    if source.shape != shape:
        raise ImageError(
            f"{source.path.name} is {source.shape[0]} x {source.shape[1]} px now",
            f"it was {shape[0]} x {shape[1]} px when it was segmented",
            "Segment it again.",
        )
