"""Small results, and a viewer of them on loopback."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from cohortseg.steps.view_files import ResultsFolder
from cohortseg.stores.labels import LabelLayout, write_labels
from cohortseg.stores.polygons import PolygonWriter
from cohortseg.stores.tables import write_json, write_parquet
from cohortseg.viewer.server import ViewerServer

TOKEN = "a-token-of-tests"
SHAPE = (700, 1300)
CELL_PX, PITCH_PX = 20, 50


def made_labels(shape: tuple[int, int] = SHAPE) -> NDArray[np.uint32]:
    """Return squares of 20 px every 50 px, numbered from 1 row by row."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    numbers = y // PITCH_PX * (shape[1] // PITCH_PX) + x // PITCH_PX + 1
    return np.where((y % PITCH_PX < CELL_PX) & (x % PITCH_PX < CELL_PX), numbers, 0).astype(np.uint32)


def made_image(shape: tuple[int, int] = SHAPE) -> NDArray[np.uint16]:
    """Return (2, y, x): a ramp from left to right, and the cells."""
    ramp = np.broadcast_to(np.arange(shape[1], dtype=np.uint16), shape)
    return np.stack([ramp, (made_labels(shape) > 0).astype(np.uint16) * 1000])


def write_sample(folder: Path, image: Path, *, mask: bool = True, cells: bool = True) -> None:
    """Write the results of an image that `made_image` is of."""
    labels = made_labels()
    ids = np.arange(1, labels.max() + 1)
    columns = SHAPE[1] // PITCH_PX
    y, x = (ids - 1) // columns * PITCH_PX, (ids - 1) % columns * PITCH_PX
    facts: dict[str, Any] = {"cell_id": ids, "area_px": CELL_PX**2, "centroid_x": x + 10.0, "centroid_y": y + 10.0}
    facts |= {"score": np.float32(0.5), "flow_error": np.float32(np.nan), "touches_edge": False}
    table = GeoDataFrame(pd.DataFrame(facts), geometry=shapely.box(x, y, x + CELL_PX, y + CELL_PX))
    with PolygonWriter(folder / "polygons.parquet", shape=SHAPE) as writer:
        writer.append(table)
    if cells:
        write_parquet(folder / "cells.parquet", pd.DataFrame(facts).assign(mean_0=ids * 2.0))
    if mask:
        layout = LabelLayout("cells", 256, 512, None, None)
        write_labels(folder / "mask.zarr", SHAPE, lambda box: labels[box.slices], layout=layout, workers=1)
    write_json(
        folder / "metadata.json",
        {
            "image": str(image),
            "mask_shape": list(SHAPE),
            "pixel_size_um": 0.5,
            "counts": {"cells": len(ids)},
            "inputs": [{"channels": [1], "join": "sum", "name": "cells"}],
            "normalisation": {"lower": [0.0], "upper": [1000.0]},
            "settings": {"series": 0, "level": 0, "plane": 0, "image_type": None, "channel_last": False},
        },
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return results of samples: good; bare, without mask and cells.parquet; moved, without image; damaged, cut off."""
    folder = tmp_path_factory.mktemp("cohort")
    tifffile.imwrite(folder / "image.tif", made_image(), tile=(128, 128), compression="zlib", metadata={"axes": "CYX"})
    write_sample(folder / "results" / "good", folder / "image.tif")
    write_sample(folder / "results" / "bare", folder / "image.tif", mask=False, cells=False)
    write_sample(folder / "results" / "moved", folder / "away" / "image.tif")
    (folder / "cut.tif").write_bytes((folder / "image.tif").read_bytes()[:5000])
    write_sample(folder / "results" / "damaged", folder / "cut.tif")
    return folder / "results"


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Served:
    """A viewer on loopback."""

    results: Path
    port: int
    closed: Callable[[], None]

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str | None) -> Answer:
        """Return the answer to a request of the viewer's page; None leaves a header out, and _ in names is a dash."""
        host = f"127.0.0.1:{self.port}"
        own = {"Cookie": f"cohortseg-{self.port}={TOKEN}", "Host": host, "Origin": f"http://{host}"}
        own |= {"Content-Type": "application/json"} if body is not None else {}
        given = own | {name.replace("_", "-"): text for name, text in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, text in given.items():
            if text is not None:
                connection.putheader(name, text)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        answer = Answer(response.status, response.read(), dict(response.getheaders()))
        connection.close()
        return answer


def serve(results: Path, scratch: Path) -> Iterator[Served]:
    """Yield a viewer that runs in a thread."""
    background = ThreadPoolExecutor(1)
    server = ViewerServer(ResultsFolder(results, scratch, background), TOKEN)
    opened = threading.Event()
    found: dict[str, Any] = {}

    def ready(port: int) -> None:
        found["port"] = port
        opened.set()

    async def run() -> None:
        found["stop"], found["loop"] = asyncio.Event(), asyncio.get_running_loop()
        await server.serve(0, ready, found["stop"])

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert opened.wait(30)

    def close() -> None:
        if thread.is_alive():
            found["loop"].call_soon_threadsafe(found["stop"].set)
            thread.join(30)
        background.shutdown()

    yield Served(results, found["port"], close)
    close()
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def viewer(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a viewer of `results`."""
    yield from serve(results, tmp_path_factory.mktemp("scratch"))
