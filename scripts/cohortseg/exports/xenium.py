"""Outlines for Xenium Ranger, whose `import-segmentation` takes GeoJSON; Xenium Explorer opens what it makes.

Its documentation (Compatible segmentation input files) asks for a FeatureCollection of Polygons, as QuPath exports
cells; features of another `objectType` than cell are passed over. Units are told on its command line.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from cohortseg.errors import TableError
from cohortseg.exports.cells import CellSource
from cohortseg.exports.geojson import feature, geometry_texts, write_features

_LOGGER = logging.getLogger("cohortseg")


def write_xenium(path: Path, source: CellSource) -> None:
    """Write a FeatureCollection of all cells in micrometres from the image's top left corner, without measurements.

    Each is one polygon with one ring, all that is documented: of a cell in several pieces the largest, the first of
    equal ones, without its holes; how many cells that changed is logged.

    Raises
    ------
    TableError
        The pixel size is not known; or as `CellSource.batches`.
    """
    pixel_size_um = source.pixel_size_um
    if pixel_size_um is None:
        raise TableError(
            f"the pixel size of {source.sample} is not known",
            "Xenium outlines are in micrometres",
            "Set pixel_size_um in config/samples.tsv or in the config, and segment again.",
        )
    changed = 0

    def features() -> Iterator[str]:
        nonlocal changed
        for batch in source.batches():
            rings = _outer_rings(batch.geometries)
            changed += int((shapely.get_num_coordinates(rings) != shapely.get_num_coordinates(batch.geometries)).sum())
            in_um = shapely.transform(rings, lambda places: np.round(places * pixel_size_um, 4))
            for cell_id, outline in zip(batch.cell_ids.tolist(), geometry_texts(in_um), strict=True):
                yield feature(source.sample, cell_id, outline, {"objectType": "cell", "name": str(cell_id)})

    write_features(path, features())
    if changed:
        _LOGGER.warning("%s: %d cells have holes or several pieces; of these the largest ring is kept", path, changed)


def _outer_rings(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return each geometry's largest polygon without its holes."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    order = np.lexsort((np.arange(len(parts)), -shapely.area(parts), owners))
    _, first = np.unique(owners[order], return_index=True)
    return np.asarray(shapely.polygons(shapely.get_exterior_ring(parts[order[first]])))
