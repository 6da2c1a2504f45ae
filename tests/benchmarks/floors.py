"""What a network costs at least: operations and bytes, counted in its layers, and how fast a device does them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_COUNTED_PX = 256
_TRIES = 8
# What a GPU is given for each pixel and gives back: two channels, labels, and the cleaned labels for their scores.
BUS_BYTES_PER_PX = 4 * (2 + 1 + 1)


@dataclass(frozen=True)
class Cost:
    """What a network does for a pixel.

    Attributes
    ----------
    flop
        Operations of its convolutions, a multiplication and an addition counting two.
    values
        Values that its convolutions read and write, each once: what must move where nothing but normalisation and
        rectifiers is fused into them.
    """

    flop: float
    values: float


@dataclass(frozen=True)
class Speed:
    """What a device reaches at most, measured: operations a second in bf16 (fp32 on a CPU), bytes a second.

    `bus_bytes_per_s` is that of copies from pinned memory, None on a CPU.
    """

    flop_per_s: float
    memory_bytes_per_s: float
    bus_bytes_per_s: float | None
    bytes_per_value: int

    def floors_s(self, cost: Cost, n_px: int) -> tuple[float, float, float]:
        """Return the least seconds for so many pixels: by arithmetic, by the memory, by the bus."""
        bus_s = 0.0 if self.bus_bytes_per_s is None else n_px * BUS_BYTES_PER_PX / self.bus_bytes_per_s
        memory_s = n_px * cost.values * self.bytes_per_value / self.memory_bytes_per_s
        return n_px * cost.flop / self.flop_per_s, memory_s, bus_s


def cost_of(checkpoint: Path) -> Cost:
    """Return what the network of a checkpoint does for a pixel of its tile."""
    from cohortseg.networks.checkpoint import load_checkpoint

    network = load_checkpoint(checkpoint).network
    flop = values = 0

    def count(layer: torch.nn.Conv2d, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal flop, values
        flop += 2 * layer.weight[0].numel() * output.numel()
        values += inputs[0].numel() + output.numel()

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)  # type: ignore[arg-type]
    with torch.inference_mode():
        network(torch.zeros(1, network.widths[0], _COUNTED_PX, _COUNTED_PX))
    return Cost(flop / _COUNTED_PX**2, values / _COUNTED_PX**2)


def speed_of(device: str) -> Speed:
    """Measure a device, in about a second: a large product of matrices, copies within and to its memory."""
    gpu = device == "cuda"
    side, dtype, n_bytes = (8192, torch.bfloat16, 2**30) if gpu else (2048, torch.float32, 2**27)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.ones(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bus_bytes_per_s = None
    if gpu:
        host = torch.ones(n_bytes // 4, dtype=torch.uint8, pin_memory=True)
        bus_bytes_per_s = len(host) / _seconds(lambda: target[: len(host)].copy_(host, non_blocking=True), gpu)
    return Speed(
        2 * side**3 / _seconds(lambda: torch.matmul(a, b), gpu),
        2 * n_bytes / _seconds(lambda: target.copy_(source), gpu),  # read and written
        bus_bytes_per_s,
        a.element_size(),
    )


def _seconds(work: Callable[[], object], gpu: bool) -> float:
    best_s = float("inf")
    for _ in range(_TRIES):
        if gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if gpu:
            torch.cuda.synchronize()
        best_s = min(best_s, time.perf_counter() - start)
    return best_s
