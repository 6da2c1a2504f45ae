"""A GPU, or a CPU, segments ever larger images: seconds by stage, memory, the distance to what the device could do.

    python tests/benchmarks/gpu.py                              # 10,240, 20,480 and 40,960 px, TIFF and zarr
    python tests/benchmarks/gpu.py --network wide               # a network of Cellpose's size instead of nuclei-mini
    python tests/benchmarks/gpu.py --device cpu --sides 1024    # without a GPU
    python tests/benchmarks/gpu.py --by-stage                   # slower as a whole, and true to the stage

Each image is made on the fly, about 625 cells a Mpx (a million at 40,000 px), written as a tiled compressed TIFF or as
compressed zarr, and segmented in a process of its own, after a small one that compiles the kernels. Start-up
(imports, the network, the kernels) is shown apart. The floors are for the image's own pixels: the overlaps of tiles
come on top.

On a GPU the network's fields stay there: they are blended and followed by torch ops, and labels cross the bus. The host
runs ahead of the GPU, so what a stage is seen to take may be a stage's before it: `blend` is the time to queue it,
`forward` how long the host waits for the network, `postprocess` the sum over the workers of waiting for their turn, of
work on the GPU and of cleaning labels on the host. With --by-stage the host waits for every operation of the GPU
(CUDA_LAUNCH_BLOCKING) and one worker post-processes: seconds by stage are the stage's own then, and nothing overlaps.

Beside torch, numba, numpy, tifffile, pandas, pyarrow, scipy, OpenCV, PyYAML and rich it needs zarr, numcodecs, donfig,
google-crc32c, imagecodecs, geopandas, shapely, pydantic, pydantic-core, annotated-types and typing-inspection: 41 MB of
wheels, installed with `pip install --no-deps`. Not needed: openvino, cellpose, snakemake, pyproj, pyogrio.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from floors import Cost, Speed, cost_of, speed_of  # noqa: E402
from made import DIAMETER_PX, write_tiff, write_zarr  # noqa: E402
from processes import Ran, memory_bytes, n_cores, run  # noqa: E402
from tables import header, megapixels_per_s, row, stages  # noqa: E402

CELLS_PER_MPX = 625
WARM_UP_PX = 2048


def measure(image: Path, warm_up: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Segment an image after a small one, in this process, and return what was counted and measured."""
    start = time.perf_counter()
    from cohortseg.networks import Network
    from cohortseg.segment.prepare import make_task, prepare
    from cohortseg.segment.tally import Tally
    from cohortseg.settings import SegmentSettings, load_block
    from cohortseg.steps.segment import write_cells
    from cohortseg.stores.images import open_image
    from cohortseg.stores.source import PageSelection

    loaded = load_block(SegmentSettings, settings)
    network = Network.of(loaded)
    start_up_s = 0.0
    for path in (warm_up, image):
        tally, start_up_s = Tally(), time.perf_counter() - start
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        with tally.timed("total"), open_image(path, PageSelection.of(loaded)) as source:
            task = make_task(source, network, loaded, prepare(source, network, loaded, tally))
            audit = write_cells(task, image.parent / "polygons.parquet", tally, lambda _: None)
    return {
        "start_up_s": start_up_s,
        "seconds": tally.seconds_s,
        "counts": tally.counts(),
        "seams": {True: "none", False: "FOUND", None: "not judged"}[audit.result()["passed"]],
        "device": f"{network.device_name}, {network.backend}, {network.precision}",
        "gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    given = _options(arguments)
    if given.measure:
        image, warm_up, settings = given.measure
        print(json.dumps(measure(Path(image), Path(warm_up), json.loads(settings))))
        return
    with tempfile.TemporaryDirectory(dir=given.scratch) as name:
        folder = Path(name)
        checkpoint = _checkpoint(given.network, folder)
        cost, speed = cost_of(checkpoint), speed_of(given.device)
        print(f"{_machine(given.device)}\n\n{_floors(given.network, cost, speed)}\n", flush=True)
        settings = {
            "device": given.device, "model_path": str(checkpoint), "diameter": DIAMETER_PX, "pipeline": _pipeline(given)
        }  # fmt: skip
        warm_up = folder / "warm.tif"
        write_tiff(warm_up, min(WARM_UP_PX, *given.sides), CELLS_PER_MPX)
        print("\n".join(header(
            "side, px", "format", "s", "Mpx/s", "arithmetic floor, s", "memory floor, s", "bus floor, s", "cells",
            "host, GB", "GPU, GB", "start-up, s", "seams", "seconds by stage",
        )), flush=True)  # fmt: skip
        for side_px in given.sides:
            for form in given.formats:
                ran = _segmented(folder, side_px, form, warm_up, settings)
                print(_row(side_px, form, ran, speed.floors_s(cost, side_px**2)), flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[10240, 20480, 40960])
    parser.add_argument("--formats", nargs="+", choices=["tiff", "zarr"], default=["tiff", "zarr"])
    parser.add_argument("--network", choices=["nuclei-mini", "wide"], default="nuclei-mini")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--readers", type=int, default=max(2, n_cores() // 2))
    parser.add_argument(
        "--postprocessors", type=int, help="all cores; half of them with a GPU, whose windows are larger"
    )
    parser.add_argument("--tracers", type=int, default=max(1, n_cores() // 4))
    parser.add_argument("--by-stage", action="store_true", help="time each stage of a GPU for itself")
    parser.add_argument("--scratch", help="folder for the images, 3 GB; the default is the system's")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.postprocessors is None:
        given.postprocessors = n_cores() if given.device == "cpu" else max(2, n_cores() // 2)
    if given.by_stage:
        if given.device == "cpu":
            parser.error("--by-stage is for a GPU: on a CPU every stage is timed for itself")
        given.postprocessors = 1
        os.environ["CUDA_LAUNCH_BLOCKING"] = "1"  # read where CUDA starts: in the processes that are measured
    return given


def _pipeline(given: argparse.Namespace) -> dict[str, int]:
    return {
        "n_read_workers": given.readers,
        "read_queue_size": 2 * given.readers,
        "n_postprocess_processes": given.postprocessors,
        "postprocess_queue_size": 2 * given.postprocessors,
        "n_merge_tile_processes": given.tracers,
    }


def _checkpoint(network: str, folder: Path) -> Path:
    from cohortseg.networks.models import find_checkpoint
    from cohortseg.settings import SegmentSettings

    if network != "wide":
        return find_checkpoint(SegmentSettings(model=network))
    from wide import write_wide_checkpoint

    write_wide_checkpoint(folder / "wide.pth")
    return folder / "wide.pth"


def _segmented(folder: Path, side_px: int, form: str, warm_up: Path, settings: dict[str, Any]) -> Ran:
    image = folder / f"{side_px}.{form}"
    {"tiff": write_tiff, "zarr": write_zarr}[form](image, side_px, CELLS_PER_MPX)
    return run([sys.executable, Path(__file__), "--measure", image, warm_up, json.dumps(settings)])


def _machine(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    gpu = f", {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GB" if device == "cuda" else ""
    return (
        f"{name}{gpu}; host with {n_cores()} cores and {memory_bytes() / 2**30:.0f} GB; "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )


def _floors(network: str, cost: Cost, speed: Speed) -> str:
    bus = "" if speed.bus_bytes_per_s is None else f", {speed.bus_bytes_per_s / 1e9:.0f} GB/s over the bus"
    return (
        f"{network}: {cost.flop / 1e3:.0f} kFLOP and {cost.values:.0f} values a pixel. Measured: "
        f"{speed.flop_per_s / 1e12:.2f} TFLOP/s in products of matrices ({8 * speed.bytes_per_value} bits), "
        f"{speed.memory_bytes_per_s / 1e9:.0f} GB/s of memory{bus}."
    )


def _row(side_px: int, form: str, ran: Ran, floors_s: tuple[float, float, float]) -> str:
    said = ran.said
    total_s = said["seconds"]["total"]
    return row(
        f"{side_px:,}", form, f"{total_s:.1f}", megapixels_per_s(side_px, total_s), *(f"{s:.2f}" for s in floors_s),
        f"{said['counts']['cells']:,}", f"{ran.peak_bytes / 2**30:.2f}", f"{said['gpu_bytes'] / 2**30:.2f}",
        f"{said['start_up_s']:.1f}", said["seams"], f"{stages(said['seconds'])} ({said['device']})",
    )  # fmt: skip


if __name__ == "__main__":
    main()
