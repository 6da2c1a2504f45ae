"""One table of measurements from a segmentation and its image, streamed by blocks."""

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.errors import TableError
from cohortseg.kernels.measure import add_sums, empty_sums
from cohortseg.quantify.background import ImageBackground
from cohortseg.quantify.compartments import Bounds, Compartments
from cohortseg.quantify.nuclei import link_nuclei
from cohortseg.quantify.parts import PartReader
from cohortseg.quantify.shape import describe_shape
from cohortseg.quantify.wanted import Wanted
from cohortseg.stores.source import ImageSource
from cohortseg.tiling.blocks import blocks

_NEEDED = ("cell_id", "geometry", "score", "touches_edge")


def measure_cells(
    read_labels: Callable[[Box], Labels],
    source: ImageSource,
    wanted: Wanted,
    polygons: gpd.GeoDataFrame,
    *,
    block_px: int,
    pixel_size_um: float | None,
    read_nuclei: Callable[[Box], Labels] | None = None,
) -> pd.DataFrame:
    """Measure every cell of an image.

    Parameters
    ----------
    read_labels
        Gives the labels of any box of the image; 0 is background, other values are the polygons' `cell_id`.
    source
        The image, of the labels' shape.
    wanted
        What is measured of which channels.
    polygons
        The same cells as `polygons.parquet` has them: `cell_id`, `geometry`, `score`, `touches_edge` are used.
    block_px
        Side of the blocks that are read at a time.
    pixel_size_um
        Side of a pixel, None where not known.
    read_nuclei
        Gives the labels of the nuclei of any box; None where only cells were segmented.

    Returns
    -------
    DataFrame
        One row a cell, sorted by `cell_id`: the columns of `describe_shape`, `touches_edge`, `score`, and for each
        channel its statistics and percentiles, `mean_<channel>`, `p5_<channel>` and so on, with characters other than
        letters, digits and _ in its name replaced, and its index appended where two would be the same. They are
        numpy's, of all pixels of the cell; NaN where a pixel is.

        With nuclei, also `nucleus_id` and `n_nuclei` as `NucleusLinks` has them, and for each channel
        `mean_nucleus_<channel>` of the cell's pixels in its own nuclei and `mean_cytoplasm_<channel>` of those in no
        nucleus, and so on; with rings `mean_ring_<channel>`, as `ring_labels` defines them. All these are NaN where
        there is no such pixel, and `nucleus_area_px`, `cytoplasm_area_px` and `ring_area_px` say how many there are.

        With a background `background_<channel>`, which was subtracted: `image`, the median of the channel over all
        pixels outside of cells, nuclei and rings; `ring`, the median of the cell's ring, whose own columns stay as
        they are.

    Raises
    ------
    TableError
        The polygons lack a column, repeat a `cell_id`, or do not have a cell that the labels have.
    ImageError
        From `source`: a block cannot be read.
    """
    polygons = _checked(polygons)
    cell_ids, bounds = polygons["cell_id"].to_numpy().astype(np.uint32), shapely.bounds(polygons["geometry"].to_numpy())
    segmented = {name: polygons[name].to_numpy() for name in ("touches_edge", "score")}
    del polygons  # their outlines take more memory than the rest
    sums = empty_sums(cell_ids, _anchors(bounds), _rows(bounds, source.shape[0]))
    links = None if read_nuclei is None else link_nuclei(read_labels, read_nuclei, source.shape, block_px)
    reader = PartReader(read_labels, read_nuclei, links, source.shape, wanted.ring_px)
    compartments = Compartments(cell_ids, bounds, source.shape, block_px, wanted, nuclei=links is not None)
    background = ImageBackground(len(wanted.channels), source.dtype) if wanted.background == "image" else None
    boxes = list(blocks(source.shape, block_px)) if cell_ids.size else []
    for number, box in enumerate(boxes):
        parts = reader.read(box)
        if background is not None or parts.occupied():  # else the image is not even read
            add_sums(parts.rimmed, (box.y0, box.x0), sums)
            image = source.read(wanted.channels, box)
            compartments.add(number, parts.labels, image)
            if background is not None:
                background.add(image, parts.outside())
        compartments.end(number)
    while background is not None and background.next_pass():
        for box in boxes:
            background.add(source.read(wanted.channels, box), reader.read(box).outside())
    table: dict[Any, Any] = {"cell_id": cell_ids.astype(np.int64)}
    table |= describe_shape(sums, np.nan if pixel_size_um is None else pixel_size_um).items()
    table |= segmented
    if links is not None:
        table |= links.of_cells(cell_ids).items()
    table |= compartments.result(None if background is None else background.result())
    return pd.DataFrame(table, copy=False)  # with many channels and compartments it is most of what memory holds


def _anchors(bounds: Bounds) -> NDArray[np.int64]:
    """Return the (y, x) pixel in the middle of each cell's bounds, (0, 0) for an empty one."""
    x0, y0, x1, y1 = bounds.T
    return np.asarray(np.nan_to_num(np.stack([y0 + y1, x0 + x1], axis=1) // 2), np.int64)


def _rows(bounds: Bounds, height: int) -> NDArray[np.int64]:
    """Return (cell, 2): the rows of an image of this height that the bounds meet, from the first up to the second."""
    rows = np.nan_to_num(np.stack([np.floor(bounds[:, 1]), np.ceil(bounds[:, 3])], axis=1))
    return np.asarray(np.clip(rows, 0, height), np.int64)


def _checked(polygons: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the polygons sorted by cell_id, after checking that they can be measured."""
    missing = [column for column in _NEEDED if column not in polygons.columns]
    if missing:
        raise TableError(
            f"the polygons have no column {', '.join(missing)}",
            f"expected {', '.join(_NEEDED)}; found {', '.join(map(str, polygons.columns))}",
            "Segment the sample again.",
        )
    cell_ids = polygons["cell_id"]
    if not (cell_ids.is_unique and cell_ids.between(1, np.iinfo(np.uint32).max).all()):
        raise TableError(
            "the cell_id are not a numbering",
            "expected whole numbers from 1 to 4294967295, as labels hold them, each once",
            "Segment the sample again.",
        )
    return polygons.sort_values("cell_id")
