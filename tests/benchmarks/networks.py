"""How fast the built-in networks run beside one of Cellpose's size: `python tests/benchmarks/networks.py`.

Megapixels of a network's own scale a second on the CPU, of the forward pass alone, in turns, and the ratio of medians.
`OMP_NUM_THREADS` sets the threads of torch; `taskset -c 0` holds OpenVINO, which takes all cores, to one. Prints
Markdown.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from wide import write_wide_checkpoint  # noqa: E402

from cohortseg.networks import Network  # noqa: E402
from cohortseg.settings import SegmentSettings  # noqa: E402
from cohortseg.settings.registry import BUILT_IN  # noqa: E402

TILE_PX = 512
REPEATS = 7


def main() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    print("| | precision | 6.6 M | " + " | ".join(BUILT_IN) + " | ratio of medians |")
    print("|---|---|---|" + "---|" * len(BUILT_IN) + "---|")
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder) / "wide"
        write_wide_checkpoint(wide)
        for backend in ("openvino", "torch"):
            general = {"device": "cpu", "backend": backend}
            named = [SegmentSettings.model_validate({"model": name, **general}) for name in BUILT_IN]
            of_size = SegmentSettings.model_validate({"model": "wide", "model_path": str(wide), **general})
            _print_row([Network.of(settings) for settings in (of_size, *named)])


def _print_row(networks: list[Network]) -> None:
    speeds: list[list[float]] = [[] for _ in networks]
    rng = np.random.default_rng(0)
    tiles = [rng.random((1, each.n_channels, TILE_PX, TILE_PX), np.float32) for each in networks]
    for turn in range(REPEATS + 1):
        for network, tile, found in zip(networks, tiles, speeds, strict=True):
            speed = _mpx_per_s(network, tile)
            if turn:  # the first one compiles
                found.append(speed)
    medians = [statistics.median(found) for found in speeds]
    shown = " | ".join(f"{median:.2f} Mpx/s" for median in medians)
    ratios = ", ".join(f"{median / medians[0]:.1f}" for median in medians[1:])
    print(f"| {networks[0].backend} | {networks[0].precision} | {shown} | {ratios} |", flush=True)


def _mpx_per_s(network: Network, tile: NDArray[np.float32]) -> float:
    start = time.perf_counter()
    network.forward(tile)
    return TILE_PX**2 / 1e6 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
