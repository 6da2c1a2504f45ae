"""viewing.py FOLDER [--side 30000] [--tiles 300]: how fast `cohortseg view` answers, and the memory that it takes.

Makes one image three times, of two channels of uint16: a tiled OME-TIFF with a pyramid, an OME-Zarr, and a TIFF of
compressed strips without smaller levels; square cells 30 px apart with their label image, outlines and a table of 20
columns. Then a viewer is started for each and asked, by one client, for tiles at places drawn at random, each once, of
all levels alike as far as they have so many, and for outlines and cells. Nothing is kept from before but what the
system keeps of files. FOLDER needs about 4 GB for 30,000 px; what is there already is not made again.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
import tables
import tifffile
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from processes import ROOT

from cohortseg.arrays import Box, Image, Labels
from cohortseg.settings import ConvertSettings
from cohortseg.stores.image_zarr import PyramidFacts, write_pyramid
from cohortseg.stores.labels import LabelLayout, write_labels
from cohortseg.stores.polygons import PolygonWriter
from cohortseg.stores.tables import write_json, write_parquet

SAMPLES = {"pyramid": "pyramid.ome.tif", "zarr": "image.ome.zarr", "strips": "strips.tif"}
TILE_PX = 512
PITCH_PX, CELL_PX = 30, 24
SMALLEST_LEVEL_PX = 400


def main(folder: Path, side: int, n_tiles: int) -> None:
    names = list(SAMPLES)
    for name in names:
        make_sample(folder, name, side)
    print("\n".join(tables.header("image", "asked for", "n", "median, ms", "95 of 100 within, ms", "slowest, ms")))
    peaks = []
    for name in names:
        with Viewer(folder / name / "results") as viewer:
            for what, milliseconds in ask(viewer, name, n_tiles).items():
                shown = [f"{np.percentile(milliseconds, each):.1f}" for each in (50, 95, 100)]
                print(tables.row(name, what, len(milliseconds), *shown), flush=True)
            peaks.append(f"{name} {viewer.peak_bytes() / 1e6:.0f} MB")
    print(f"\nPeak memory of the viewer, {side} px, {(side // PITCH_PX) ** 2} cells: {', '.join(peaks)}.")


def ask(viewer: "Viewer", name: str, n_tiles: int) -> dict[str, list[float]]:
    """Return milliseconds of answers of each kind, in the order in which they were asked for."""
    rng = np.random.default_rng(8)
    start = time.perf_counter()
    facts = json.loads(viewer.get(f"/api/samples/{name}"))
    times = {"the sample": [1000 * (time.perf_counter() - start)]}
    places = random_tiles(rng, facts, n_tiles)
    looks = "&".join(f"c={each['index']}:{each['lower']}:{each['upper']}:ff00ff" for each in facts["channels"])
    times |= viewer.wait_for_levels(f"/api/samples/{name}/image/0/0_0.jpg?{looks}")
    for what, path in {"tiles": f"image/%s.jpg?{looks}", "outlines": "outlines/%s.png"}.items():
        times[what] = [viewer.time(f"/api/samples/{name}/{path}" % place) for place in places]
    spots = rng.uniform(0, facts["width"], (100, 2))
    cells = [viewer.time(f"/api/samples/{name}/cell?x={x}&y={y}") for x, y in spots]
    return times | {"the first cell": cells[:1], "cells": cells[1:]}


def random_tiles(rng: np.random.Generator, facts: dict[str, Any], n_tiles: int) -> list[str]:
    """Return LEVEL/COLUMN_ROW of tiles, each once, of all levels alike as far as they have so many."""
    places: dict[str, None] = {}
    for _ in range(100 * n_tiles):
        level = int(rng.integers(facts["levels"]))
        side = math.ceil(facts["width"] / 2 ** (facts["levels"] - 1 - level))
        column, row = rng.integers(math.ceil(side / TILE_PX), size=2)
        places[f"{level}/{column}_{row}"] = None
        if len(places) == n_tiles:
            break
    return list(places)


class Viewer:
    """A viewer of its own process; a context manager."""

    def __init__(self, results: Path) -> None:
        command = [sys.executable, "-m", "cohortseg", "view", str(results), "--no-browser"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        found = re.search(r"http://127.0.0.1:(\d+)/\?token=(\S+)", self._process.stdout.readline())
        assert found, "the viewer printed no address"
        self._port, self._token = int(found[1]), found[2]
        self._connection = HTTPConnection("127.0.0.1", self._port, timeout=600)

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.wait(60)

    def get(self, path: str) -> bytes:
        return self._ask(path)[0]

    def time(self, path: str) -> float:
        start = time.perf_counter()
        self._ask(path)
        return 1000 * (time.perf_counter() - start)

    def wait_for_levels(self, path: str) -> dict[str, list[float]]:
        """Wait until a tile far out is whole, where the viewer makes smaller levels for it; return what that took."""
        start = time.perf_counter()
        times = {}
        while self._ask(path)[1] == "no":
            times["smaller levels, made once"] = [1000 * (time.perf_counter() - start)]
            time.sleep(0.1)
        return times

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return 1024 * int(found[1])

    def _ask(self, path: str) -> tuple[bytes, str | None]:
        self._connection.request("GET", path, headers={"Cookie": f"cohortseg-{self._port}={self._token}"})
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return content, answer.getheader("X-Complete")


def make_sample(folder: Path, name: str, side: int) -> None:
    sample, image = folder / name / "results" / name, folder / SAMPLES[name]
    if (sample / "metadata.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    {"pyramid": write_tiled, "zarr": write_zarr, "strips": write_strips}[name](image, side)
    columns = side // PITCH_PX

    def read(box: Box) -> Labels:
        y, x = np.arange(box.y0, box.y1)[:, None], np.arange(box.x0, box.x1)
        cells = (y // PITCH_PX * columns + x // PITCH_PX + 1).astype(np.uint32)
        inside = (y % PITCH_PX < CELL_PX) & (x % PITCH_PX < CELL_PX)
        whole = (y // PITCH_PX < columns) & (x // PITCH_PX < columns)
        return np.where(inside & whole, cells, np.uint32(0))

    layout = LabelLayout(name, 512, 4096, 0.5, None)
    write_labels(sample / "mask.zarr", (side, side), read, layout=layout, workers=4)
    write_cells(sample, side)
    facts = {"image": str(image.resolve()), "mask_shape": [side, side], "pixel_size_um": 0.5, "settings": {}}
    write_json(sample / "metadata.json", facts)


def write_cells(sample: Path, side: int) -> None:
    columns = side // PITCH_PX
    ids = np.arange(1, columns**2 + 1)
    rows = []
    with PolygonWriter(sample / "polygons.parquet", shape=(side, side)) as writer:
        for some in np.array_split(ids, math.ceil(len(ids) / 50_000)):
            y, x = (some - 1) // columns * PITCH_PX, (some - 1) % columns * PITCH_PX
            outlines = shapely.box(x, y, x + CELL_PX, y + CELL_PX)
            facts = {"cell_id": some, "area_px": CELL_PX**2, "centroid_x": x + 12.0, "centroid_y": y + 12.0}
            table = pd.DataFrame(facts | {"score": np.float32(1), "flow_error": np.float32(0), "touches_edge": False})
            writer.append(GeoDataFrame(table, geometry=outlines))
            rows.append(table)
    table = pd.concat(rows, ignore_index=True)
    rng = np.random.default_rng(0)
    measured = {f"mean_{i}": rng.uniform(0, 4096, len(ids)) for i in range(14)}
    write_parquet(sample / "cells.parquet", table.assign(**measured))


def textures() -> list[NDArray[np.uint16]]:
    """Return a few tiles with cells and noise that compress about as well as real ones."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:TILE_PX, :TILE_PX]
    cells = 800 * (np.sin(y / 5) * np.sin(x / 5)).clip(0)
    return [(300 + cells * (i + 1) + rng.integers(0, 64, cells.shape)).astype(np.uint16) for i in range(4)]


def write_tiled(path: Path, side: int) -> None:
    tiles = [zlib.compress(tile.tobytes(), 6) for tile in textures()]
    sides = [side]
    while sides[-1] > SMALLEST_LEVEL_PX:
        sides.append(math.ceil(sides[-1] / 2))

    def encoded(level_side: int) -> Iterator[bytes]:
        for i in range(2 * math.ceil(level_side / TILE_PX) ** 2):
            yield tiles[i % len(tiles)]

    options = {"dtype": np.uint16, "tile": (TILE_PX, TILE_PX), "compression": "zlib", "photometric": "minisblack"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        for i, each in enumerate(sides):
            extra: dict[str, Any] = {"subifds": len(sides) - 1, "metadata": {"axes": "CYX"}} if i == 0 else {}
            extra = extra or {"subfiletype": 1}
            file.write(encoded(each), shape=(2, each, each), **options, **extra)


def write_strips(path: Path, side: int) -> None:
    wide = [np.tile(tile, (1, math.ceil(side / TILE_PX)))[:, :side] for tile in textures()]
    strips = [zlib.compress(np.ascontiguousarray(each[:16]).tobytes(), 6) for each in wide]
    last = [zlib.compress(np.ascontiguousarray(each[: (side - 1) % 16 + 1]).tobytes(), 6) for each in wide]
    n = math.ceil(side / 16)

    def encoded() -> Iterator[bytes]:
        for i in range(2 * n):
            yield (last if i % n == n - 1 else strips)[i % len(strips)]

    tifffile.imwrite(
        path, encoded(), shape=(2, side, side), dtype=np.uint16, rowsperstrip=16, compression="zlib", bigtiff=True,
        photometric="minisblack", metadata={"axes": "CYX"},
    )  # fmt: skip


def write_zarr(path: Path, side: int) -> None:
    wide = [np.tile(tile, (1, 2)) for tile in textures()]

    def read(_: int, channels: Sequence[int], box: Box) -> Image:
        rows, columns = np.arange(box.y0, box.y1) % TILE_PX, np.arange(box.x0, box.x1) % TILE_PX
        return np.stack([wide[(channel + box.y0 // TILE_PX) % 4][np.ix_(rows, columns)] for channel in channels])

    shape = (2, 1, side, side)
    facts = PyramidFacts("made", shape, np.dtype(np.uint16), ("a", "b"), False, 0.5, None)
    settings = ConvertSettings(chunk_px=512, shard_px=4096)
    write_pyramid(path, facts, read, settings, lambda _: None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=30_000)
    parser.add_argument("--tiles", type=int, default=300)
    given = parser.parse_args()
    main(given.folder, given.side, given.tiles)
