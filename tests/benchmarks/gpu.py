"""One image after another on a GPU: seconds by stage, memory, and the distance to what the GPU could do.

    python tests/benchmarks/gpu.py                    # 10,240, 20,480 and 40,960 px, TIFF and zarr, nuclei-mini
    python tests/benchmarks/gpu.py --sides 4096 --device cpu

Each image is made on the fly, written as a tiled compressed TIFF or as zarr, and segmented in a process of its own,
after a small one that compiles the kernels; start-up is not counted. Needs what the engine imports for a segmentation:
torch, numba, numpy, tifffile, imagecodecs, zarr, pydantic, pyarrow, pandas, shapely, geopandas.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from made import BASE_PX, base_field, mirrored, write_tiff  # noqa: E402

DIAMETER_PX = 20.0
ZARR_CHUNK_PX = 1024
WARM_UP_PX = 2048


def write_zarr(path: Path, side_px: int) -> None:
    """Write a compressed zarr array of crowded nuclei, a row of chunks at a time."""
    import zarr

    base, _ = base_field(BASE_PX, DIAMETER_PX)
    chunks = (ZARR_CHUNK_PX, ZARR_CHUNK_PX)
    stored = zarr.create_array(str(path), shape=(side_px, side_px), chunks=chunks, dtype=base.dtype)
    for y0 in range(0, side_px, ZARR_CHUNK_PX):
        height = min(ZARR_CHUNK_PX, side_px - y0)
        stored[y0 : y0 + height] = mirrored(base, y0, 0, height, side_px)


def measure(image: Path, settings: dict[str, Any], warm_up: Path) -> dict[str, Any]:
    """Segment an image after a small one, in this process, and return what was counted and measured."""
    from cohortseg.networks import Network
    from cohortseg.settings import SegmentSettings, load_block
    from cohortseg.steps.segment import segment_file
    from cohortseg.stores.tables import read_json

    loaded = load_block(SegmentSettings, {"diameter": DIAMETER_PX, **settings})
    network = Network.of(loaded)
    for path in (warm_up, image):
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        out = image.parent / "out"
        start = time.perf_counter()
        segment_file(
            path, out / "polygons.parquet", out / "metadata.json", network, loaded,
            sample="a", z_index=None, on_progress=lambda _: None,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    facts = read_json(out / "metadata.json")
    return {
        "seconds": seconds,
        "stages": facts["seconds"],
        "cells": facts["counts"]["cells"],
        "device": f"{network.device_name}, {network.backend}, {network.precision}",
        "host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
    }


def flops_per_px(model_path: str | None) -> float:
    """Return the floating-point operations of the network's convolutions for a pixel of its tile."""
    from cohortseg.networks.checkpoint import load_checkpoint
    from cohortseg.networks.models import find_checkpoint
    from cohortseg.settings import SegmentSettings

    network = load_checkpoint(find_checkpoint(SegmentSettings(model_path=model_path))).network.eval()
    total = 0

    def count(layer: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * layer.weight[0].numel() * output.numel()

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    side_px = 256
    with torch.inference_mode():
        network(torch.zeros(1, network.widths[0], side_px, side_px))
    return total / side_px**2


def peak_flops(device: str) -> float:
    """Return the floating-point operations a second of a large product of matrices: bf16 on a GPU, fp32 on a CPU."""
    side, dtype = (8192, torch.bfloat16) if device == "cuda" else (2048, torch.float32)
    a = torch.randn(side, side, device=device, dtype=dtype)
    return 2 * side**3 / _seconds(lambda: a @ a, device)


def copy_bytes_per_s() -> float:
    """Return how fast pinned memory goes to the GPU."""
    host = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(host, device="cuda")
    return host.numel() / _seconds(lambda: target.copy_(host, non_blocking=True), "cuda")


def _seconds(work: Any, device: str) -> float:
    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    best = float("inf")
    for _ in range(6):
        wait()
        start = time.perf_counter()
        work()
        wait()
        best = min(best, time.perf_counter() - start)
    return best


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[10240, 20480, 40960])
    parser.add_argument("--formats", nargs="+", choices=["tiff", "zarr"], default=["tiff", "zarr"])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--model-path", help="checkpoint; without it, nuclei-mini")
    parser.add_argument("--readers", type=int, default=max(2, (os.cpu_count() or 2) // 2))
    parser.add_argument("--postprocessors", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--measure", nargs=2, metavar=("IMAGE", "WARM_UP"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    pipeline = {"n_read_workers": given.readers, "read_queue_size": 2 * given.readers,
                "n_postprocess_processes": given.postprocessors,
                "postprocess_queue_size": 2 * given.postprocessors, "n_merge_tile_processes": 4}  # fmt: skip
    settings = {"device": given.device, "model_path": given.model_path, "pipeline": pipeline}
    if given.measure:
        print(json.dumps(measure(Path(given.measure[0]), settings, Path(given.measure[1]))))
        return
    flops, peak = flops_per_px(given.model_path), peak_flops(given.device)
    copied = f"; copies of pinned memory {copy_bytes_per_s() / 1e9:.0f} GB/s" if given.device == "cuda" else ""
    print(f"Network: {flops / 1e6:.3f} MFLOP a pixel; largest product of matrices {peak / 1e12:.2f} TFLOP/s{copied}.\n")
    print("| side, px | format | s | Mpx/s | arithmetic floor, s | cells | host, GB | GPU, GB | seconds by stage |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        warm_up = Path(name) / "warm.tif"
        write_tiff(warm_up, (WARM_UP_PX, WARM_UP_PX), DIAMETER_PX)
        for side_px in given.sides:
            for form in given.formats:
                image = Path(name) / f"{side_px}.{'tif' if form == 'tiff' else 'zarr'}"
                if form == "tiff":
                    write_tiff(image, (side_px, side_px), DIAMETER_PX)
                else:
                    write_zarr(image, side_px)
                again = [sys.executable, __file__, *(sys.argv[1:] if arguments is None else arguments)]
                done = subprocess.run(
                    [*again, "--measure", str(image), str(warm_up)], stdout=subprocess.PIPE, text=True, check=True
                )
                print(_row(side_px, form, json.loads(done.stdout.splitlines()[-1]), flops / peak), flush=True)


def _row(side_px: int, form: str, ran: dict[str, Any], floor_s_per_px: float) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in ran["stages"].items() if seconds >= 0.1)
    cells = (
        f"{side_px:,}", form, f"{ran['seconds']:.1f}", f"{side_px**2 / ran['seconds'] / 1e6:.1f}",
        f"{side_px**2 * floor_s_per_px:.2f}", f"{ran['cells']:,}", f"{ran['host_bytes'] / 2**30:.2f}",
        f"{ran['gpu_bytes'] / 2**30:.2f}", f"{stages}; {ran['device']}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
