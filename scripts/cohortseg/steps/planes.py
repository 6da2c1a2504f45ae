"""A sample's cells as labels, drawn box by box from its polygons.parquet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cohortseg.arrays import Box, Labels
from cohortseg.errors import TableError
from cohortseg.shapes import rasterise_into
from cohortseg.stores.polygons import read_polygons
from cohortseg.stores.tables import read_json

ReadLabels = Callable[[Box], Labels]
"""Draws the cells of a box: (y, x) uint32, 0 is background."""


def label_reader(polygons: Path, on_read: Callable[[int], None] | None = None) -> ReadLabels:
    """Return a function that draws the cells of any box; only the polygons that meet it are read.

    Parameters
    ----------
    on_read
        Called with the pixels of each box that was drawn, to show progress.
    """

    def read(box: Box) -> Labels:
        table = read_polygons(polygons, columns=("cell_id", "geometry"), box=box)
        labels, _ = rasterise_into(table.geometry.to_numpy(), table["cell_id"].to_numpy(), box)
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
