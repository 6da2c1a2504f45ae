"""Whose turn it is on a device: one stream for all windows, memory that may run out, copies to and from it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cohortseg.errors import DeviceError

T = TypeVar("T")

# The network's batch under way holds memory that it gives back; what does not fit then will not fit at all.
_TRIES = 3


class Turns:
    """Runs work on a device: from any thread one at a time, on a stream of its own where the device is a GPU.

    The network runs on other streams meanwhile. Work begins after all that was queued on the caller's stream, on which
    fields are blended; what it leaves on the device is for later work of the same turns.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._gpu = self.device.type == "cuda"
        self._lock = threading.Lock()
        self._stream = torch.cuda.Stream(self.device) if self._gpu else None  # type: ignore[no-untyped-call]

    def take(self, work: Callable[[], T], *, uses: Tensor, what: str) -> T:
        """Return what the work gives, once it is its turn.

        Parameters
        ----------
        work
            May be run again where memory ran out, so it changes nothing that it is given.
        uses
            The field that it works on, or a part of it.
        what
            What does not fit, for the message.

        Raises
        ------
        DeviceError
            If the memory of the device runs out, also after the network's batches under way have given theirs back.
        """

        def in_turn() -> T:
            with self._lock, self._on_stream(uses):
                return work()

        return self.fitting(in_turn, what)

    def fitting(self, work: Callable[[], T], what: str) -> T:
        """Return what the work gives, on the caller's own stream, trying again where memory ran out; as `take`."""
        for _ in range(_TRIES):
            try:
                return work()
            except torch.OutOfMemoryError as error:
                reason = str(error).partition("\n")[0]
            # Here, since the error holds on to the memory of what failed.
            if self._gpu:
                torch.cuda.synchronize(self.device)
                torch.cuda.empty_cache()
        raise DeviceError(
            f"{self.device} ran out of memory on {what} ({reason})",
            "it must fit beside the network's batches",
            "Set a smaller pipeline.batch_size or pipeline.postprocess_queue_size, or free the GPU.",
        )

    def to_host(self, values: Tensor) -> NDArray[np.generic]:
        """Return a copy on the host; waits for the current stream. Through pinned memory, which is twice as fast."""
        if not self._gpu:
            return values.numpy()
        pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        pinned.copy_(values, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        return pinned.numpy()

    def to_device(self, values: NDArray[np.generic]) -> Tensor:
        """Return a copy on the device."""
        on_host = torch.from_numpy(np.ascontiguousarray(values))
        # The pinned copy is not used again before the device has read it: torch's allocator of the host sees to that.
        return on_host.pin_memory().to(self.device, non_blocking=True) if self._gpu else on_host

    @contextmanager
    def _on_stream(self, uses: Tensor) -> Iterator[None]:
        if self._stream is None:
            yield
            return
        # A thread begins with the first GPU, to which torch would go back after the stream, and open it for this job.
        torch.cuda.set_device(self.device)
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            # Else its memory goes to others once the caller lets go of it, whether or not this stream has read it.
            uses.record_stream(self._stream)
            yield
