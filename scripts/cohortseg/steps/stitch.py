"""Step stitch: the planes of a stack in, its 3D cells as polygons, objects and a label pyramid out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd

from cohortseg.errors import MissingFileError, StackError
from cohortseg.settings import RasteriseSettings, StitchSettings, load_block
from cohortseg.steps.assemble import read_order
from cohortseg.steps.job import run_job
from cohortseg.steps.planes import ReadLabels, label_reader, read_metadata
from cohortseg.steps.progress import pixel_bar
from cohortseg.stitch import Plane, link_planes, object_polygons, summarise_objects
from cohortseg.stores.labels import LabelLayout, write_labels
from cohortseg.stores.polygons import read_polygons
from cohortseg.stores.tables import write_geoparquet, write_parquet

_LOGGER = logging.getLogger("cohortseg")
_COLUMNS = ("cell_id", "area_px", "centroid_x", "centroid_y")


@dataclass(frozen=True)
class PlaneFiles:
    """One plane of a stack: its place and the folder that holds its polygons.parquet and metadata.json."""

    z_index: int
    folder: Path


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        settings = snakemake.params.settings
        configs = Path(snakemake.input.configs)
        stitch_files(
            find_planes(read_order(configs), [configs.parent.parent.parent]),
            configs.parent,
            load_block(StitchSettings, settings["stitch"]),
            load_block(RasteriseSettings, settings["rasterise"]),
            name=snakemake.params.stack,
            workers=min(snakemake.threads, settings["stitch"]["num_process"]),
        )

    run_job(snakemake, step)


def find_planes(order: Sequence[tuple[str, int | None]], folders: Sequence[Path]) -> list[PlaneFiles]:
    """Return the planes of a stack in z order.

    Parameters
    ----------
    order
        Names of the planes, and the z_index of each; None to take it from the plane's metadata.json.
    folders
        Where the planes' folders are looked for, in this order.

    Raises
    ------
    StackError
        If a plane has no z_index anywhere, or a name is none of a folder.
    MissingFileError
        If a plane has no folder.
    """
    planes = [_plane_files(name, z_index, folders) for name, z_index in order]
    return sorted(planes, key=lambda plane: plane.z_index)


def _plane_files(name: str, z_index: int | None, folders: Sequence[Path]) -> PlaneFiles:
    if Path(name).name != name or name == "..":
        raise StackError(
            f"image_name {name!r} in configs.yml", "the name of a folder was expected", "Correct the file."
        )
    found = [folder / name for folder in folders if (folder / name / "polygons.parquet").is_file()]
    if not found:
        raise MissingFileError(
            f"plane {name} has no polygons.parquet",
            f"it was looked for in {folders[0] / name}",
            "Segment the plane, or remove it from configs.yml.",
        )
    if z_index is None:
        z_index = read_metadata(found[0] / "metadata.json")[0].get("z_index")
    if not isinstance(z_index, int):
        raise StackError(
            f"plane {name} has no z_index, neither in configs.yml nor in its metadata.json",
            "a whole number for each plane was expected",
            "Set its z_index in configs.yml.",
        )
    return PlaneFiles(z_index, found[0])


def stitch_files(
    planes: Sequence[PlaneFiles],
    output: Path,
    stitch: StitchSettings,
    rasterise: RasteriseSettings,
    *,
    name: str,
    workers: int,
    on_read: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Link the cells of a stack's planes and write 3d_polygons.parquet, objects.parquet and 3d_mask.zarr.

    Parameters
    ----------
    on_read
        Called with the pixels of each box that was drawn; all planes are drawn twice.

    Returns
    -------
    DataFrame
        The objects, as objects.parquet has them.

    Raises
    ------
    StackError
        If planes differ in shape or share a z_index.
    """
    facts = [read_metadata(plane.folder / "metadata.json") for plane in planes]
    tables = [read_polygons(plane.folder / "polygons.parquet", columns=_COLUMNS, box=None) for plane in planes]
    opened = [
        _open_plane(plane, table, shape, on_read)
        for plane, table, (_, shape) in zip(planes, tables, facts, strict=True)
    ]
    links = link_planes(opened, iou_threshold=stitch.iou_threshold, workers=workers)
    by_plane = [links[links["z_index"] == plane.z_index] for plane in planes]
    linked = [object_polygons(table, rows) for table, rows in zip(tables, by_plane, strict=True)]
    pixel_size_um = _common_pixel_size(planes, [metadata for metadata, _ in facts])
    objects = summarise_objects(
        links, _measured(planes, tables), pixel_size_um=pixel_size_um, z_step_um=stitch.z_step_um
    )
    polygons = geopandas.GeoDataFrame(pd.concat(linked, ignore_index=True), geometry="geometry")
    write_geoparquet(output / "3d_polygons.parquet", polygons)
    write_parquet(output / "objects.parquet", objects)
    readers = [_object_reader(plane, rows) for plane, rows in zip(opened, by_plane, strict=True)]
    layout = LabelLayout(name, rasterise.chunk_px, rasterise.shard_px, pixel_size_um, stitch.z_step_um)
    write_labels(
        output / "3d_mask.zarr",
        (len(planes), *opened[0].shape),
        lambda z, box: readers[z](box),
        layout=layout,
        workers=max(workers, 1),
    )
    return objects


def _common_pixel_size(planes: Sequence[PlaneFiles], facts: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the pixel size of all planes, after a warning of gaps between them."""
    sizes = {metadata.get("pixel_size_um") for metadata in facts}
    if len(sizes) > 1:
        raise StackError(
            f"the planes have different pixel sizes: {', '.join(sorted(map(str, sizes)))} µm",
            "one for the whole stack was expected",
            "Set pixel_size_um in the config or alike for its rows of the sheet, and segment again.",
        )
    gaps = [(a.z_index, b.z_index) for a, b in pairwise(planes) if b.z_index != a.z_index + 1]
    for before, after in gaps:
        _LOGGER.warning("planes %d and %d are linked as neighbours; none between them is in the stack", before, after)
    return sizes.pop()


def _open_plane(
    plane: PlaneFiles,
    table: geopandas.GeoDataFrame,
    shape: tuple[int, int],
    on_read: Callable[[int], None] | None,
) -> Plane:
    order = np.argsort(table["cell_id"].to_numpy())
    cell_ids, areas = table["cell_id"].to_numpy()[order], table["area_px"].to_numpy()[order]
    return Plane(plane.z_index, shape, cell_ids, areas, label_reader(plane.folder / "polygons.parquet", on_read))


def _measured(planes: Sequence[PlaneFiles], tables: Sequence[geopandas.GeoDataFrame]) -> pd.DataFrame:
    """Return what is known of each cell of each plane, in one table."""
    parts = [
        pd.DataFrame(table[[*_COLUMNS]]).assign(z_index=plane.z_index)
        for plane, table in zip(planes, tables, strict=True)
    ]
    return pd.concat(parts, ignore_index=True).rename(columns={"cell_id": "plane_cell_id"})


def _object_reader(plane: Plane, links: pd.DataFrame) -> ReadLabels:
    """Return a function that draws a plane's boxes with the ids of the objects instead of its own."""
    ids = np.zeros(int(plane.cell_ids.max(initial=0)) + 1, np.uint32)
    ids[links["plane_cell_id"].to_numpy()] = links["cell_id"].to_numpy()
    return lambda box: ids[plane.read(box)]


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
    planes = find_planes(_order_in(folder), [folder, folder.resolve().parent.parent])
    name = folder.resolve().name
    _, shape = read_metadata(planes[0].folder / "metadata.json")
    with pixel_bar(name, 2 * len(planes) * shape[0] * shape[1]) as on_read:
        objects = stitch_files(
            planes, target, settings, RasteriseSettings(), name=name, workers=settings.num_process, on_read=on_read
        )
    return objects, target


def _order_in(folder: Path) -> list[tuple[str, int | None]]:
    configs = folder / "configs.yml"
    if configs.is_file():
        return read_order(configs)
    planes = sorted(path.parent.name for path in folder.glob("*/polygons.parquet"))
    if not planes:
        raise MissingFileError(
            f"{folder} holds no planes",
            "a configs.yml and a folder with polygons.parquet for each plane were expected",
            "Correct the path, or run `cohortseg infer --image-dir` first.",
        )
    return [(name, None) for name in planes]
