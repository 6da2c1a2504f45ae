"""`cohortseg mask2poly`: label images of any origin to polygons, without a workflow; the inverse of `poly2mask`."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas as pd

from cohortseg import __version__
from cohortseg.arrays import Box, Labels
from cohortseg.errors import ImageError, SettingsError
from cohortseg.kernels.extents import Extents, keep_labels, label_extents, merge_extents
from cohortseg.segment.ahead import map_ahead
from cohortseg.shapes import geometries
from cohortseg.steps.assemble import read_order, write_configs
from cohortseg.steps.progress import pixel_bar
from cohortseg.stores.polygons import PolygonWriter
from cohortseg.stores.tables import LabelImage, open_label_image, write_json
from cohortseg.tiling import blocks

WINDOW_PX = 2048
"""Side of a window. Cells up to this size are traced with others, larger ones one by one."""

_MOST_WORKERS = 8
_LARGE_PX = 16_384
_PACKAGES = ("numpy", "numba", "tifffile", "zarr", "shapely", "pyarrow")
_LOGGER = logging.getLogger("cohortseg")

Read = Callable[[Box], Labels]


class Traced(NamedTuple):
    """What was made of a label image."""

    folder: Path
    n_cells: int
    n_in_parts: int
    """Cells in several parts, which are MultiPolygons."""


class _Job(NamedTuple):
    """Cells that are traced together, by their places in the table of extents, and the box that holds them all."""

    cells: "np.ndarray[Any, np.dtype[np.int64]]"
    box: Box


def polygons_of_masks(masks: Sequence[Path], output: Path, *, plane: int | None, as_stack: bool) -> Iterator[Traced]:
    """Trace label images into folders of their names: polygons.parquet and metadata.json, as `poly2mask` takes them.

    Of several masks, configs.yml lists the names for `cohortseg stitch`.

    Parameters
    ----------
    masks
        Files of one plane, or with planes of which one is taken.
    output
        Where the folders go.
    plane
        Which plane of files with several; None where each has one.
    as_stack
        The masks are the planes of a stack, in their order: their z_index is 0, 1, ...

    Raises
    ------
    SettingsError
        Two masks have one name.
    MissingFileError, ImageError
        A mask is not there, cannot be read, or is no label image of one plane.
    """
    names = [_stem(mask) for mask in masks]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SettingsError(
            f"several masks are called {', '.join(repeated)}",
            "each mask's polygons go to a folder of its name",
            "Rename them, or name another output for each.",
        )
    if len(masks) > 1:
        configs = output / "configs.yml"
        # What the user has filled in there stays when the masks are traced again.
        filled_in = dict(read_order(configs)) if configs.is_file() else {}
        write_configs(configs, [(name, i if as_stack else filled_in.get(name)) for i, name in enumerate(names)])
    for i, (mask, name) in enumerate(zip(masks, names, strict=True)):
        yield trace_mask(mask, output / name, plane=plane, z_index=i if as_stack else None)


def trace_mask(
    mask: Path, folder: Path, *, plane: int | None, z_index: int | None, workers: int | None = None
) -> Traced:
    """Trace one label image, window by window; `workers` threads (None: all cores), which change no byte.

    The image is read twice: to find where each label lies, and to trace each label whole, once, with the window that
    holds its upper left corner. Memory is that of a few windows, 64 bytes for each cell, and one cell larger than a
    window.
    """
    workers = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
    with open_label_image(mask, plane or 0) as image, pixel_bar(folder.name, image.shape[0] * image.shape[1]) as bar:
        if plane is None and image.n_planes > 1:
            raise ImageError(f"{mask.name} has {image.n_planes} planes", "one was expected", "Choose one with --plane.")
        extents = _measure(image, workers, bar)
        n_in_parts = 0
        with PolygonWriter(folder / "polygons.parquet", shape=image.shape) as writer:
            jobs = _jobs(extents)
            tables = map_ahead(
                lambda job: _trace(image.read, extents, job, image.shape),
                jobs, n_workers=workers, queue_size=workers, name="trace",
            )  # fmt: skip
            for table in tables:
                n_in_parts += int((table.geom_type == "MultiPolygon").sum())
                writer.append(table)
        counts = {"cells": len(extents.labels), "cells_in_parts": n_in_parts}
        facts = _describe(mask, image, plane or 0)
    write_json(folder / "metadata.json", {"sample": folder.name, "z_index": z_index, **facts, "counts": counts})
    return Traced(folder, len(extents.labels), n_in_parts)


def _measure(image: LabelImage, workers: int, on_read: Callable[[int], None]) -> Extents:
    def measure(box: Box) -> Extents:
        extents = label_extents(image.read(box), (box.y0, box.x0))
        on_read(box.height * box.width)
        return extents

    boxes = blocks(image.shape, WINDOW_PX)
    return merge_extents(list(map_ahead(measure, boxes, n_workers=workers, queue_size=workers, name="measure")))


def _jobs(extents: Extents) -> Iterator[_Job]:
    """Yield what is traced together: window by window the cells that begin there, then those larger than a window."""
    if len(extents.labels) == 0:
        return
    window = (extents.y0 // WINDOW_PX) * (extents.x0.max() // WINDOW_PX + 1) + extents.x0 // WINDOW_PX
    is_large = np.maximum(extents.y1 - extents.y0, extents.x1 - extents.x0) > WINDOW_PX
    order = np.lexsort((extents.labels, is_large, window))
    starts = np.flatnonzero(np.diff(window[order], prepend=-1))
    for cells in np.split(order, starts[1:]):
        small = cells[~is_large[cells]]
        for together in ([small] if len(small) else []) + [cells[i : i + 1] for i in range(len(small), len(cells))]:
            low, high = extents.y0[together].min(), extents.y1[together].max()
            left, right = extents.x0[together].min(), extents.x1[together].max()
            yield _Job(together, Box(int(low), int(left), int(high), int(right)))


def _trace(read: Read, extents: Extents, job: _Job, shape: tuple[int, int]) -> geopandas.GeoDataFrame:
    """Return the rows of polygons.parquet of some cells; they have no score and no flow error."""
    box, cells = job.box, job.cells
    if max(box.shape) > _LARGE_PX:
        _LOGGER.warning("label %d spans %d x %d px, which are held at once", extents.labels[cells[0]], *box.shape)
    found, shapes = geometries(keep_labels(read(box), extents.labels[cells]), (box.y0, box.x0))
    cells = cells[found - 1]
    y0, x0, y1, x1 = (each[cells] for each in (extents.y0, extents.x0, extents.y1, extents.x1))
    areas = extents.areas[cells]
    missing = pd.array([None] * len(cells), "Float32")
    columns = {
        "cell_id": extents.labels[cells].astype(np.int64),
        "area_px": areas,
        "centroid_x": extents.sum_x[cells] / areas + 0.5,
        "centroid_y": extents.sum_y[cells] / areas + 0.5,
        "score": missing,
        "flow_error": missing,
        "touches_edge": (y0 == 0) | (x0 == 0) | (y1 == shape[0]) | (x1 == shape[1]),
    }
    return geopandas.GeoDataFrame(columns, geometry=shapes)


def _describe(mask: Path, image: LabelImage, plane: int) -> dict[str, Any]:
    """Return what metadata.json says of the mask; its image is not known, so neither are normalisation and settings."""
    return {
        "mask": str(mask),
        "mask_shape": list(image.shape),
        "page": plane,
        "n_planes": image.n_planes,
        "pixel_size_um": image.pixel_size_um,
        "inputs": [{"channels": [0], "join": "sum", "name": "0"}],
        "normalisation": {"lower": [None], "upper": [None]},
        "settings": {},
        "versions": {"cohortseg": __version__} | {name: version(name) for name in _PACKAGES},
    }


def _stem(mask: Path) -> str:
    """Return a mask's name without its suffix, also .ome.tif and .ome.zarr."""
    name = mask.resolve().name
    return name.removesuffix(mask.suffix).removesuffix(".ome") if mask.suffix else name
