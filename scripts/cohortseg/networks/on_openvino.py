"""Forward passes on a CPU, by OpenVINO."""

from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress

import numpy as np
import openvino
from numpy.typing import NDArray

from cohortseg.networks.devices import pick_precision, thread_count
from cohortseg.networks.facts import NetworkFacts

Output = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Fields, (3, y, x), and style, (features,), of one tile."""

# What tiles under way may take: leaves half of 3 GB to the rest of the process.
_MEMORY_BYTES = 3 * 2**29
_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoBackend:
    """A converted network on the CPU, compiled for one shape of tile at a time.

    A shape known beforehand is a fifth faster than any shape, and gives the same bits on any number of threads and
    streams. Threads are not pinned: two jobs on one machine would take the same cores.
    """

    torch_device: str | None = None

    def __init__(self, model: openvino.Model, facts: NetworkFacts, precision: str) -> None:
        self._core = openvino.Core()
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        cpu = self._core.get_property("CPU", "FULL_DEVICE_NAME")
        self.precision = pick_precision(precision, has_bf16, f"the CPU ({cpu})")
        self._model, self._facts = model, facts
        self._compiled: tuple[tuple[object, ...], list[openvino.InferRequest]] | None = None

    def each(self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None) -> Generator[Output, None, None]:
        """Yield the output of each tile, one after the other, each on all threads; `batch_size` is for GPUs."""
        for tile in tiles:
            request = self._requests(tile.shape, 1)[0]
            request.get_input_tensor().data[0] = tile
            request.start_async()
            request.wait()
            yield _output(request)

    def overlapped(self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None) -> Generator[Output, None, None]:
        """Yield the output of each tile, in order; several are under way at once, and as many wait behind them."""
        idle: list[openvino.InferRequest] = []
        busy: deque[openvino.InferRequest] = deque()
        try:
            for tile in tiles:
                if not busy:
                    n_streams = stream_count(self._facts, tile.shape[-2] * tile.shape[-1], thread_count())
                    idle = list(self._requests(tile.shape, n_streams))
                request = idle.pop()
                request.get_input_tensor().data[0] = tile
                request.start_async()
                busy.append(request)
                if not idle:
                    request = busy[0]
                    output = _finished(request)
                    idle.append(busy.popleft())
                    yield output
            while busy:
                yield _finished(busy.popleft())
        finally:
            _abandon(busy)

    def _requests(self, shape: tuple[int, ...], n_streams: int) -> list[openvino.InferRequest]:
        key = (*shape, n_streams, thread_count())
        if self._compiled is None or self._compiled[0] != key:
            self._compiled = None  # its memory goes before the next one's comes
            model = self._model.clone()
            model.reshape([1, *shape])
            compiled = self._core.compile_model(
                model,
                "CPU",
                {
                    "NUM_STREAMS": n_streams,
                    "INFERENCE_NUM_THREADS": thread_count(),
                    "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
                    "ENABLE_CPU_PINNING": False,
                },
            )
            # Those behind the running ones keep the streams busy while the caller works on an output.
            self._compiled = key, [compiled.create_infer_request() for _ in range(2 * n_streams)]
        return self._compiled[1]


def stream_count(facts: NetworkFacts, tile_px: int, n_threads: int) -> int:
    """Return how many tiles run at once: as many as the memory holds, a divisor of the number of threads.

    One stream with all threads needs the least memory; one a thread is the fastest, by a fifth on four threads. A
    stream holds 663 bytes a pixel of tile for a first width of 32 and 480 for 16 (measured with OpenVINO 2026.4 on
    tiles of 512 to 1,024 px).
    """
    stream_bytes = (300 + 12 * facts.widths[1]) * tile_px
    fitting = [n for n in range(1, n_threads + 1) if n_threads % n == 0 and n * stream_bytes <= _MEMORY_BYTES]
    return max(fitting, default=1)


def _finished(request: openvino.InferRequest) -> Output:
    request.wait()
    return _output(request)


def _output(request: openvino.InferRequest) -> Output:
    fields, style = (request.get_output_tensor(i).data[0].astype(np.float32, copy=True) for i in range(2))
    return fields, style


def _abandon(requests: Iterable[openvino.InferRequest]) -> None:
    """Stop what is under way and wait until it has stopped."""
    for request in requests:
        request.cancel()
    for request in requests:
        with suppress(RuntimeError):  # that is how a cancelled request ends
            request.wait()
