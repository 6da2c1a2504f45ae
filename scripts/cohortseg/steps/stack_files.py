"""The planes of a stack as files: their order, their folders, and what is known of their cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cohortseg.errors import MissingFileError, StackError, TableError
from cohortseg.steps.assemble import read_order
from cohortseg.steps.planes import read_metadata
from cohortseg.stores.tables import read_parquet


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
