"""stitching.py METHOD BELOW ABOVE OUTPUT SIDE CORES: link the cells of two planes, from files to files, timed.

METHOD is `ours`, or one of two references:
- `strtree`, the documented method of Turing Segment: a tree of bounds (STRtree) finds the pairs of polygons that meet,
  and each polygon takes the one of the next plane with the highest IoU of the polygons, if that reaches the threshold.
- `stitch3d`: `cellpose.utils.stitch3D` on the two label images, which it needs in memory.

Each writes its links to OUTPUT/links.npy: (n, 2) `cell_id` below and above, sorted.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

IOU_THRESHOLD = 0.5
_CHUNK = 4096
WARM_UP_ROWS = 64


def ours(below: Path, above: Path, output: Path, side_px: int, cores: int) -> dict[str, float]:
    """Do what `cohortseg stitch` does, but for the label image."""
    from cohortseg.settings import StitchSettings
    from cohortseg.steps.overlaps import overlap_files
    from cohortseg.steps.stitch import write_tables
    from cohortseg.stitch import PlaneCells, link_stack, summarise_objects
    from cohortseg.stores.linked import LinkedPlane
    from cohortseg.stores.memory import release_memory
    from cohortseg.stores.tables import read_parquet

    overlap_files(below, above, (WARM_UP_ROWS, WARM_UP_ROWS), workers=1)  # loads the compiled code
    clock = Clock()
    overlaps = overlap_files(below, above, (side_px, side_px), workers=cores)
    clock.lap("overlaps")
    files, stack = (below, above), []
    for z, path in enumerate(files):
        table = read_parquet(path, ["cell_id", "area_px"])
        stack.append(PlaneCells(z, (side_px, side_px), table["cell_id"].to_numpy(), table["area_px"].to_numpy()))
    links = link_stack(stack, {(0, 1): overlaps}, StitchSettings(iou_threshold=IOU_THRESHOLD))
    links["area_px"] = np.concatenate([plane.areas for plane in stack])
    del overlaps, stack, table
    clock.lap("link")
    for column in ("centroid_x", "centroid_y"):
        links[column] = np.concatenate([read_parquet(path, [column])[column].to_numpy() for path in files])
    release_memory()
    objects = summarise_objects(links, [0, 1], pixel_size_um=None, z_step_um=None)
    clock.lap("objects")
    n_below = int(np.searchsorted(links["z_index"], 1))
    by_plane = [links[:n_below], links[n_below:]]
    linked = [
        LinkedPlane(z, path, *(rows[name].to_numpy() for name in ("plane_cell_id", "cell_id", "iou")))
        for z, (path, rows) in enumerate(zip(files, by_plane, strict=True))
    ]
    write_tables(output, linked, objects)
    clock.lap("write")
    _, places, others = np.intersect1d(linked[0].cell_ids, linked[1].cell_ids, return_indices=True)
    _save(output, np.stack([linked[0].plane_cell_ids[places], linked[1].plane_cell_ids[others]], axis=1))
    return clock.seconds


def strtree(below: Path, above: Path, output: Path, side_px: int, cores: int) -> dict[str, float]:
    """Link by polygons; intersections are computed by as many threads as there are cores."""
    import geopandas
    import shapely

    clock = Clock()
    tables = [geopandas.read_parquet(path, columns=["cell_id", "geometry"]) for path in (below, above)]
    shapes = [table.geometry.to_numpy() for table in tables]
    clock.lap("read")
    lower, upper = shapely.STRtree(shapes[1]).query(shapes[0], predicate="intersects")
    clock.lap("tree")

    def shared_px(start: int) -> NDArray[np.float64]:
        rows = slice(start, start + _CHUNK)
        return shapely.area(shapely.intersection(shapes[0][lower[rows]], shapes[1][upper[rows]]))

    with ThreadPoolExecutor(cores) as pool:
        shared = np.concatenate([np.zeros(0), *pool.map(shared_px, range(0, len(lower), _CHUNK))])
    iou = shared / (shapely.area(shapes[0])[lower] + shapely.area(shapes[1])[upper] - shared)
    clock.lap("intersections")
    ids = [table["cell_id"].to_numpy() for table in tables]
    found = pd.DataFrame({"lower": ids[0][lower], "upper": ids[1][upper], "iou": iou})
    found = found[found["iou"] >= IOU_THRESHOLD]
    best = found.sort_values(["lower", "iou", "upper"], ascending=[True, False, True]).drop_duplicates("lower")
    won = best.sort_values(["upper", "iou", "lower"], ascending=[True, False, True]).drop_duplicates("upper")
    of_upper = pd.Series(won["lower"].to_numpy(), index=won["upper"])
    tables[1]["cell_id"] = (
        of_upper.reindex(ids[1]).fillna(pd.Series(ids[1] + ids[0].max(), index=ids[1])).astype(int).to_numpy()
    )
    clock.lap("link")
    geopandas.GeoDataFrame(pd.concat(tables, keys=(0, 1), names=["z_index"])).to_parquet(output / "3d_polygons.parquet")
    clock.lap("write")
    _save(output, won[["lower", "upper"]].to_numpy())
    return clock.seconds


def stitch3d(below: Path, above: Path, output: Path, side_px: int, _: int) -> dict[str, float]:
    """Link by label images. Drawing them is not counted: a user of Cellpose has them."""
    from cellpose.utils import stitch3D

    import cohortseg
    from cohortseg.stores.polygons import read_polygons

    shape = (side_px, side_px)
    tables = [read_polygons(path, columns=("cell_id",), box=None) for path in (below, above)]
    masks = np.stack([cohortseg.rasterise(table, shape) for table in tables])
    before = masks[1].copy()
    clock = Clock()
    stitched = stitch3D(masks, stitch_threshold=IOU_THRESHOLD)[1]
    clock.lap("stitch3D")
    ids, first = np.unique(before, return_index=True)
    became = stitched.ravel()[first]
    linked = (ids > 0) & (became <= masks[0].max())
    _save(output, np.stack([became[linked], ids[linked]], axis=1).astype(np.int64))
    return clock.seconds


class Clock:
    """Seconds of one stage after the other, and `total` of all."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"total": 0.0}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self.seconds["total"] += now - self._last
        self._last = now


def _save(output: Path, pairs: NDArray[Any]) -> None:
    np.save(output / "links.npy", pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])


METHODS: dict[str, Callable[[Path, Path, Path, int, int], dict[str, float]]] = {
    "ours": ours,
    "strtree": strtree,
    "stitch3d": stitch3d,
}


def main(method: str, below: str, above: str, output: str, side_px: str, cores: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(cores) :])
    Path(output).mkdir(exist_ok=True)
    seconds = METHODS[method](Path(below), Path(above), Path(output), int(side_px), int(cores))
    print(json.dumps({"seconds": seconds, "links": len(np.load(Path(output) / "links.npy"))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
