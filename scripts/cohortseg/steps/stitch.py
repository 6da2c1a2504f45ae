"""Step stitch: the planes of a stack in, its 3D cells as polygons, objects, labels, and a report of the links out."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cohortseg.arrays import Box, Labels
from cohortseg.errors import StackError
from cohortseg.settings import RasteriseSettings, StitchSettings, load_block
from cohortseg.steps.assemble import read_order
from cohortseg.steps.job import run_job
from cohortseg.steps.overlaps import overlap_files
from cohortseg.steps.planes import ReadLabels, label_reader, read_metadata
from cohortseg.steps.progress import pixel_bar
from cohortseg.steps.projection import write_projection
from cohortseg.steps.provenance import code_facts
from cohortseg.steps.stack_files import (
    PlaneFiles,
    common_pixel_size,
    find_planes,
    order_in,
    read_cells,
    stated_z_step,
)
from cohortseg.steps.through_z import write_through_z
from cohortseg.stitch import (
    PlaneCells,
    check_stack,
    describe_links,
    drop_short,
    link_stack,
    pairs_of,
    summarise_objects,
)
from cohortseg.stores.labels import LabelLayout, write_labels
from cohortseg.stores.linked import LinkedPlane, write_linked_polygons
from cohortseg.stores.memory import release_memory
from cohortseg.stores.source import SIZE_TOLERANCE, contradicts
from cohortseg.stores.tables import read_parquet, write_json, write_parquet

_LOGGER = logging.getLogger("cohortseg")
_MOST_SLICES_A_PLANE = 1000
_CENTRES = ("centroid_x", "centroid_y")

Overlaps = Mapping[tuple[int, int], pd.DataFrame]


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        settings = snakemake.params.settings
        configs = Path(snakemake.input.configs)
        stitch = load_block(StitchSettings, settings["stitch"])
        planes = find_planes(read_order(configs), [configs.parent.parent.parent])
        stitch_files(
            planes,
            configs.parent,
            stitch,
            load_block(RasteriseSettings, settings["rasterise"]),
            overlaps=StoredOverlaps(configs.parent / "overlaps", planes, stitch),
            name=snakemake.params.stack,
            workers=min(snakemake.threads, stitch.num_process),
        )

    run_job(snakemake, step)


class StoredOverlaps(Overlaps):
    """The overlaps of a stack's planes as the rule `overlaps` wrote them; a pair is read when it is asked for."""

    def __init__(self, folder: Path, planes: Sequence[PlaneFiles], settings: StitchSettings) -> None:
        self._folder = folder
        self._pairs = _pairs(planes, settings)

    def __getitem__(self, pair: tuple[int, int]) -> pd.DataFrame:
        return read_parquet(self._folder / f"{pair[0]}_{pair[1]}.parquet", None)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


class ComputedOverlaps(Overlaps):
    """The overlaps of a stack's planes, computed when they are asked for and not kept."""

    def __init__(
        self,
        planes: Sequence[PlaneFiles],
        settings: StitchSettings,
        shape: tuple[int, int],
        on_read: Callable[[int], None] | None,
    ) -> None:
        self._polygons = {plane.z_index: plane.polygons for plane in planes}
        self._pairs = _pairs(planes, settings)
        self._shape = shape
        self._workers = settings.num_process
        self._on_read = on_read

    def __getitem__(self, pair: tuple[int, int]) -> pd.DataFrame:
        below, above = (self._polygons[z_index] for z_index in pair)
        return overlap_files(below, above, self._shape, workers=self._workers, on_read=self._on_read)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


def _pairs(planes: Sequence[PlaneFiles], settings: StitchSettings) -> list[tuple[int, int]]:
    return pairs_of([plane.z_index for plane in planes], settings.max_gap, settings.max_step())


def stitch_files(
    planes: Sequence[PlaneFiles],
    output: Path,
    stitch: StitchSettings,
    rasterise: RasteriseSettings,
    *,
    overlaps: Overlaps,
    name: str,
    workers: int,
    on_read: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Link the cells of a stack's planes and write what comes of it.

    Writes 3d_polygons.parquet, objects.parquet, 3d_mask.zarr, through_z.png, a few cells through the planes,
    projection.png, all of them as seen from the first plane, and link_report.json: `describe_links`, with the code,
    the settings, what the planes were made from, what `min_planes` dropped and what through_z.png shows.

    Parameters
    ----------
    planes
        In z order.
    overlaps
        Of the planes that `link_stack` asks for.
    on_read
        Told the pixels of each box that was drawn.

    Returns
    -------
    DataFrame
        The objects, as objects.parquet has them.

    Raises
    ------
    StackError
        If planes differ in shape, pixel size or z step, share a z_index, or their z_index leave too many empty slices,
        or if the settings contradict the z step of the images.
    """
    facts = [read_metadata(plane.folder / "metadata.json") for plane in planes]
    stack = check_stack([_plane_cells(plane, shape) for plane, (_, shape) in zip(planes, facts, strict=True)])
    indices = [plane.z_index for plane in planes]
    first, step, n_slices = _slices(indices)
    pixel_size_um = common_pixel_size([metadata for metadata, _ in facts])
    z_step_um = _z_step(name, [metadata for metadata, _ in facts], indices, stitch)
    _warn_of_gaps(indices, step, stitch)
    shape = stack[0].shape
    links = link_stack(stack, overlaps, stitch)
    links["area_px"] = np.concatenate([plane.areas for plane in stack])
    del stack
    # Only now, so that they are not in memory with the overlaps.
    _add_centres(links, planes)
    kept, n_dropped = drop_short(links, stitch.min_planes)
    if n_dropped:
        _LOGGER.info("%s: objects in fewer than %d planes, dropped: %d", name, stitch.min_planes, n_dropped)
    objects = summarise_objects(kept, indices, pixel_size_um=pixel_size_um, z_step_um=z_step_um)
    ends = np.searchsorted(kept["z_index"].to_numpy(), indices, side="right")
    by_plane = {z_index: kept[start:end] for z_index, start, end in zip(indices, [0, *ends], ends, strict=False)}
    write_tables(output, [_linked(plane, by_plane[plane.z_index]) for plane in planes], objects)
    readers = {plane.z_index: _object_reader(plane, by_plane[plane.z_index], on_read) for plane in planes}
    slice_um = None if z_step_um is None else step * z_step_um

    def read(z: int, box: Box) -> Labels:
        reader = readers.get(first + z * step)
        return np.zeros(box.shape, np.uint32) if reader is None else reader(box)

    write_labels(
        output / "3d_mask.zarr",
        (n_slices, *shape),
        read,
        layout=LabelLayout(name, rasterise.chunk_px, rasterise.shard_px, pixel_size_um, slice_um),
        workers=max(workers, 1),
    )
    shown = write_through_z(output / "through_z.png", planes, kept, objects, readers)
    write_projection(output, objects, chunk_px=rasterise.chunk_px, z_indices=(first, first + step * (n_slices - 1)))
    report = describe_links(links, indices)
    for z_index in report["suspicious"]:
        _LOGGER.warning("%s: plane %d looks odd beside its neighbours; see link_report.json", name, z_index)
    dropped = {"objects": n_dropped, "cells": len(links) - len(kept), "min_planes": stitch.min_planes}
    mask = {"first_z_index": first, "z_index_step": step, "slices": n_slices}
    made = {
        "code": code_facts(),
        "settings": stitch.decisive(),
        "made_from": [_origin(metadata) for metadata, _ in facts],
    }
    found = {"z_step_um": z_step_um, "mask": mask, "dropped": dropped, **report, "through_z": shown}
    write_json(output / "link_report.json", {"stack": name, **made, **found})
    return objects


def _z_step(
    name: str, facts: Sequence[Mapping[str, Any]], indices: Sequence[int], stitch: StitchSettings
) -> float | None:
    """Return the distance of planes whose z_index differ by one, of the settings or as the images say it.

    Raises
    ------
    StackError
        If the images contradict one another, or the settings, which do not say that they hold all the same.
    """
    given = stitch.z_step_um
    if given is not None and stitch.override_z_step:
        return given
    stated = stated_z_step(facts, indices)
    single = all(metadata.get("n_planes", 1) == 1 for metadata in facts)
    if given is None:
        if stated is not None:
            # What a file with one plane says may be how thick that is, or nothing but a default.
            level, advice = (logging.WARNING, "; set stitch.z_step_um to be sure") if single else (logging.INFO, "")
            _LOGGER.log(level, "%s: z step %.4g µm, as its images' metadata say%s", name, stated, advice)
        return stated
    if contradicts(given, stated) and single:
        _LOGGER.warning("%s: z step %g µm, though its images' metadata say %.4g", name, given, stated)
    elif contradicts(given, stated):
        raise StackError(
            f"z_step_um is {given:g}, and the metadata of the images of {name} say {stated:.4g} µm",
            f"steps within {SIZE_TOLERANCE:.0%} of one another were expected",
            "Correct or drop stitch.z_step_um, or set stitch.override_z_step: true if the metadata are wrong.",
        )
    return given


def _origin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a plane's cells were made from; None for what is not known, as of masks made elsewhere."""
    return {
        "sample": metadata.get("sample"),
        "image_checksum": metadata.get("image_checksum"),
        "model_sha256": metadata.get("model", {}).get("sha256"),
        "code": metadata.get("code"),
    }


def _add_centres(links: pd.DataFrame, planes: Sequence[PlaneFiles]) -> None:
    """Add the centres of cells to their links, a plane at a time."""
    centres, start = {column: np.empty(len(links)) for column in _CENTRES}, 0
    for plane in planes:
        table = read_cells(plane, *_CENTRES)
        for column, values in centres.items():
            values[start : start + len(table)] = table[column]
        start += len(table)
    for column, values in centres.items():
        links[column] = values
    release_memory()


def write_tables(output: Path, planes: Sequence[LinkedPlane], objects: pd.DataFrame) -> None:
    """Write 3d_polygons.parquet and objects.parquet, at once: the one waits for files while the other is encoded."""
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_parquet, output / "objects.parquet", objects)
        write_linked_polygons(output / "3d_polygons.parquet", planes)
        writing.result()


def _slices(indices: Sequence[int]) -> tuple[int, int, int]:
    """Return the z_index of the 3D mask's first slice, the step of z_index between slices, and how many there are.

    The step is the largest that meets all planes, so that slices are evenly spaced; where a plane is missing, its
    slice is empty.
    """
    ordered = sorted(indices)
    step = math.gcd(*(above - below for below, above in pairwise(ordered))) or 1
    n_slices = (ordered[-1] - ordered[0]) // step + 1
    if n_slices > _MOST_SLICES_A_PLANE * len(ordered):
        raise StackError(
            f"the {len(ordered)} planes have z_index from {ordered[0]} to {ordered[-1]} without an even step",
            "numbers in the order and at the spacing of the planes were expected",
            "Number the planes 0, 1, 2, and leave a number out where a plane is missing.",
        )
    return ordered[0], step, n_slices


def _warn_of_gaps(indices: Sequence[int], step: int, settings: StitchSettings) -> None:
    largest = settings.max_step()
    for before, after in pairwise(sorted(indices)):
        if largest is not None and after - before > largest:
            _LOGGER.warning("planes %d and %d are not linked: farther apart than max_distance_um", before, after)
        elif after - before > step:
            _LOGGER.warning("planes %d and %d are linked as neighbours; none in between is in the stack", before, after)


def _plane_cells(plane: PlaneFiles, shape: tuple[int, int]) -> PlaneCells:
    table = read_cells(plane, "area_px")
    return PlaneCells(plane.z_index, shape, table["cell_id"].to_numpy(), table["area_px"].to_numpy(np.int64))


def _linked(plane: PlaneFiles, rows: pd.DataFrame) -> LinkedPlane:
    plane_cell_ids, cell_ids, iou = (rows[name].to_numpy() for name in ("plane_cell_id", "cell_id", "iou"))
    return LinkedPlane(plane.z_index, plane.polygons, plane_cell_ids, cell_ids, iou)


def _object_reader(plane: PlaneFiles, links: pd.DataFrame, on_read: Callable[[int], None] | None) -> ReadLabels:
    """Return a function that draws a plane's boxes with the ids of the objects; what was dropped is background."""
    draw = label_reader(plane.polygons, on_read)
    cells = links["plane_cell_id"].to_numpy()
    ids = np.zeros(int(cells.max(initial=0)) + 1, np.uint32)
    ids[cells] = links["cell_id"].to_numpy()

    def read(box: Box) -> Labels:
        labels = draw(box)
        labels[labels >= ids.size] = 0
        drawn: Labels = ids[labels]
        return drawn

    return read


def stitch_folder(folder: Path, output: Path | None, given: Mapping[str, Any]) -> tuple[pd.DataFrame, Path]:
    """Link the planes that lie in a folder; `cohortseg stitch`.

    Parameters
    ----------
    folder
        Holds a folder for each plane. Its configs.yml names the planes and their order; without one, all its
        folders with polygons are planes, and their metadata.json states the order.
    output
        Where results go; None for the folder itself.
    given
        Fields of `StitchSettings`; the others keep their defaults.

    Returns
    -------
    tuple
        The objects and the folder they are in.

    Raises
    ------
    MissingFileError
        If there are no planes.
    """
    settings = load_block(StitchSettings, given)
    target = output or folder
    # In the results of a workflow the planes lie two levels above the stack.
    planes = find_planes(order_in(folder), [folder, folder.resolve().parent.parent])
    name = folder.resolve().name
    _, shape = read_metadata(planes[0].folder / "metadata.json")
    n_drawn = len(planes) + 2 * len(_pairs(planes, settings))
    with pixel_bar(name, n_drawn * shape[0] * shape[1]) as on_read:
        objects = stitch_files(
            planes,
            target,
            settings,
            RasteriseSettings(),
            overlaps=ComputedOverlaps(planes, settings, shape, on_read),
            name=name,
            workers=settings.num_process,
            on_read=on_read,
        )
    return objects, target
