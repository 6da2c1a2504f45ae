"""AnnData: intensities as a matrix of cells and channels, for scanpy and squidpy."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cohortseg.errors import TableError
from cohortseg.exports.cells import CellBatch, CellSource
from cohortseg.exports.h5ad import INDEX, SAMPLE, H5adWriter, Rows, Shape
from cohortseg.exports.intensities import Layout, joined, layout_of

_LOGGER = logging.getLogger("cohortseg")
_CELL_ID = "cell_id"
_CENTROID = ("centroid_x", "centroid_y")


def write_anndata(path: Path, source: CellSource) -> None:
    """Write the cells of a sample as .h5ad, a few thousand at a time.

    X (float32) is the mean of each channel, or what was measured first where it is not the mean; everything else that
    was measured of channels are layers: `median`, `p5`, `background`. obs has `sample`, `cell_id` and all other
    measurements, and is indexed by `cell_id` as text. obsm["spatial"] is the centroid (x, y), float64, in micrometres
    where the pixel size is known, else in pixels: uns["spatial_unit"] says which. uns["cohortseg"] says what X is and
    how the cells were made, as texts, those of several values as JSON.

    Raises
    ------
    MissingExtraError
        anndata is not installed.
    TableError
        A column is called what obs has already or HDF5 does not take; or as `CellSource.batches`.
    """
    layout = _layout(source)
    unit = _unit([source])
    uns = {"spatial_unit": unit, "cohortseg": {"X": _x_of(layout), **_texts(provenance(source))}}
    with H5adWriter(path, _shape(layout, [source]), uns) as writer:
        for batch in source.batches():
            writer.append(_rows(batch, 0, source, layout, layout, unit, ""))


def write_cohort(path: Path, sources: Sequence[CellSource]) -> None:
    """Write the cells of all samples as one .h5ad, as `write_anndata` does for each, one sample after the other.

    Channels and measurements are those of any sample, NaN where a sample has them not. obs_names are
    `<sample>:<cell_id>`. obsm["spatial"] is in micrometres only where all pixel sizes are known. uns["cohortseg"] has
    `samples`, JSON of how each came about.
    """
    layouts = [_layout(source) for source in sources]
    whole, unit = joined(layouts), _unit(sources)
    samples = {source.sample: provenance(source) for source in sources}
    uns = {"spatial_unit": unit, "cohortseg": {"X": _x_of(whole), **_texts({"samples": samples})}}
    with H5adWriter(path, _shape(whole, sources), uns) as writer:
        for place, (source, layout) in enumerate(zip(sources, layouts, strict=True)):
            for batch in source.batches():
                writer.append(_rows(batch, place, source, layout, whole, unit, f"{source.sample}:"))


def provenance(source: CellSource) -> dict[str, Any]:
    """Return how the cells of a sample were made, as metadata.json says it; what it does not say is left out."""
    kept = ("image", "image_checksum", "model", "channels", "diameter", "pixel_size_um", "code", "versions", "settings")
    known = {name: source.metadata[name] for name in kept if source.metadata.get(name) is not None}
    return {"sample": source.sample, **known}


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in facts.items()
    }


def _layout(source: CellSource) -> Layout:
    layout = layout_of(source.columns())
    for name in layout.others:
        if name in ("", ".", "..", SAMPLE, INDEX) or "/" in name:
            raise TableError(
                f"{source.sample} has a column called {name!r}",
                f"obs of AnnData takes no /, and has {SAMPLE} and {INDEX} of its own",
                "Rename that column.",
            )
    return layout


def _shape(layout: Layout, sources: Sequence[CellSource]) -> Shape:
    return Shape(
        n_rows=sum(source.n_cells() for source in sources),
        channels=layout.channels,
        layers=layout.layers,
        columns={_CELL_ID: np.dtype(np.int64), **layout.others},
        samples=[source.sample for source in sources],
    )


def _rows(batch: CellBatch, place: int, source: CellSource, own: Layout, whole: Layout, unit: str, prefix: str) -> Rows:
    return Rows(
        names=[f"{prefix}{cell_id}" for cell_id in batch.cell_ids.tolist()],
        sample=place,
        layers={layer: own.matrix(layer, batch.table, whole.channels) for layer in whole.layers},
        table=batch.table.assign(**{_CELL_ID: batch.cell_ids}),
        spatial=_centroids(batch) * (source.pixel_size_um or 1 if unit == "micrometer" else 1),
    )


def _centroids(batch: CellBatch) -> NDArray[np.float64]:
    """Return (n, 2) x, y in pixels: as measured, else, as of a cell that has no pixel left, those of the outlines."""
    middles = shapely.centroid(batch.geometries)
    places = np.column_stack([shapely.get_x(middles), shapely.get_y(middles)])
    if not all(name in batch.table for name in _CENTROID):
        return places
    measured = batch.table[list(_CENTROID)].to_numpy(np.float64)
    return np.where(np.isnan(measured), places, measured)


def _unit(sources: Sequence[CellSource]) -> str:
    unknown = [source.sample for source in sources if source.pixel_size_um is None]
    if unknown and len(sources) > len(unknown):
        _LOGGER.warning("the pixel size of %s is not known: places of all samples are in pixels", unknown[0])
    return "pixel" if unknown or not sources else "micrometer"


def _x_of(layout: Layout) -> str:
    return layout.layers[0] if layout.layers else "nothing: no intensity was measured"
