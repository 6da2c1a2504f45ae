"""Images behind URLs in the sample sheet."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tifffile
import zarr


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Return a folder and its URL."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_image_behind_a_url_gives_the_cells_of_the_file_and_a_dead_url_fails_alone(
    fresh: Any, served: tuple[Path, str]
) -> None:
    folder, url = served
    sheet = pd.read_csv(fresh.folder / "samples.tsv", sep="\t", dtype=str).fillna("")
    row = sheet.iloc[[0]].drop(columns=["stack", "z_index", "labels"], errors="ignore")
    pixels = tifffile.imread(fresh.folder / row["image"].iloc[0])
    zarr.create_array(folder / "field.zarr", data=pixels, chunks=(*(1,) * (pixels.ndim - 2), 64, 64))
    images = {"here": row["image"].iloc[0], "away": f"{url}/field.zarr", "dead": f"{url}/absent.zarr"}
    rows = pd.concat([row.assign(sample=name, image=image) for name, image in images.items()])
    rows.to_csv(fresh.folder / "samples.tsv", sep="\t", index=False)
    targets = [f"results/{name}/cells.parquet" for name in images]
    done = fresh.snakemake("--keep-going", *targets)
    assert done.returncode != 0
    here, away = (fresh.folder / "results" / name for name in ("here", "away"))
    assert (away / "polygons.parquet").read_bytes() == (here / "polygons.parquet").read_bytes()
    assert (away / "cells.parquet").read_bytes() == (here / "cells.parquet").read_bytes()
    log = (fresh.folder / "logs" / "segment" / "dead.log").read_text()
    assert f"{url}/absent.zarr" in log or "absent.zarr cannot be opened" in log
    assert "Traceback" not in log
