"""The planes of a stack as files: their order, their folders, and what is known of their cells."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from cohortseg.errors import MissingFileError, StackError, TableError
from cohortseg.steps.assemble import read_order
from cohortseg.steps.planes import read_metadata
from cohortseg.stores.source import contradicts
from cohortseg.stores.tables import read_parquet

_LOGGER = logging.getLogger("cohortseg")


@dataclass(frozen=True)
class PlaneFiles:
    """One plane of a stack: its place and the folder that holds its polygons.parquet and metadata.json."""

    z_index: int
    folder: Path

    @property
    def polygons(self) -> Path:
        """Its polygons.parquet."""
        return self.folder / "polygons.parquet"


def read_cells(plane: PlaneFiles, *columns: str) -> pd.DataFrame:
    """Return `cell_id` and `columns` of a plane's cells, by `cell_id`; TableError where that is no numbering."""
    table = read_parquet(plane.polygons, ("cell_id", *columns))
    if not table["cell_id"].is_monotonic_increasing:
        table = table.sort_values("cell_id", ignore_index=True, kind="stable")
    cell_ids = table["cell_id"].to_numpy()
    if len(table) and (cell_ids.dtype.kind not in "iu" or cell_ids[0] < 1 or (cell_ids[1:] == cell_ids[:-1]).any()):
        raise TableError(
            f"the cell_id of {plane.polygons} are not a numbering",
            "expected whole numbers from 1, each once",
            "Segment the plane again, or renumber its cells.",
        )
    return table.astype({"cell_id": "int64"})


def common_pixel_size(facts: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the pixel size of all planes, by their metadata.json; StackError where they differ."""
    sizes = {metadata.get("pixel_size_um") for metadata in facts}
    if len(sizes) > 1:
        raise StackError(
            f"the planes have different pixel sizes: {', '.join(sorted(map(str, sizes)))} µm",
            "one for the whole stack was expected",
            "Set pixel_size_um in the config or alike for its rows of the sheet, and segment again.",
        )
    return sizes.pop()


def stated_z_step(facts: Sequence[Mapping[str, Any]], z_indices: Sequence[int]) -> float | None:
    """Return the distance of planes whose z_index differ by one, as their images' metadata say it.

    Planes of files with several are as far apart as they are there, so that every second one may be numbered 0, 1, 2.
    Where each plane is a file of its own, those whose z_index differ by one are taken to be a step apart.

    Parameters
    ----------
    facts
        The metadata.json of each plane; what traced masks leave of it says nothing.

    Returns
    -------
    float or None
        In micrometres; None where nothing is said, or where z_index is not spaced as the planes of the file are, which
        is a warning.

    Raises
    ------
    StackError
        The images say different steps.
    """
    steps = sorted({metadata["z_step_um"] for metadata in facts if metadata.get("z_step_um") is not None})
    if not steps:
        return None
    if contradicts(steps[0], steps[-1]):
        said = ", ".join(f"{step:.4g}" for step in steps)
        raise StackError(
            f"the metadata of the planes' images say different z steps: {said} µm",
            "one for the whole stack was expected",
            "Put planes of the same spacing into a stack, or set stitch.z_step_um and override_z_step: true.",
        )
    if len(facts) == 1 or all(metadata.get("n_planes", 1) == 1 for metadata in facts):
        return float(steps[0])
    planes = sorted(zip(z_indices, (metadata.get("z_place", 0) for metadata in facts), strict=True))
    ratios = {(high - low) / (above - below) for (below, low), (above, high) in pairwise(planes)}
    if len(ratios) > 1 or 0 in ratios:
        _LOGGER.warning(
            "the z step of %s is not used: its planes %s have the z_index %s, which are spaced differently; "
            "stitch.z_step_um sets it",
            Path(str(facts[0].get("image"))).name, [place for _, place in planes], [z_index for z_index, _ in planes],
        )  # fmt: skip
        return None
    return float(steps[0] * abs(ratios.pop()))


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


def order_in(folder: Path) -> list[tuple[str, int | None]]:
    """Return the z order of the planes in a folder, as its configs.yml says it.

    Without one, all its folders with polygons are planes and state their z_index themselves.

    Raises
    ------
    MissingFileError
        If there are no planes.
    """
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
