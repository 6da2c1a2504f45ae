"""Forward passes by torch: one by one on a CPU, in overlapped batches on a GPU."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cohortseg.networks.batches import Batches, BatchSize
from cohortseg.networks.devices import device_name, pick_precision, tell_torch_threads

Output = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Fields, (3, y, x), and style, (features,), of one tile."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# A GPU is busy with this many pixels; more would only cost memory, most of all pinned memory of the host.
_ENOUGH_PX = 2**23
_MOST_TILES = 64
# The rest is for the fields that are kept and for the windows that are turned into cells.
_FREE_SHARE = 0.5
# A batch that is copied in while another is computed.
_SLOTS = 2


class TorchCpuBackend:
    """A network on the CPU, tile by tile.

    Parameters
    ----------
    has_bf16
        Whether it may run in bf16; false for what OpenVINO runs, which is faster at it.
    """

    torch_device: str | None = None

    def __init__(self, network: nn.Module, precision: str, *, has_bf16: bool = False) -> None:
        self.precision = pick_precision(precision, has_bf16, "torch on this CPU")
        tell_torch_threads()
        self._dtype = _DTYPES[self.precision]
        self._network = network.eval().to(self._dtype).to(memory_format=torch.channels_last)

    def each(self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None) -> Generator[Output, None, None]:
        """Yield the output of each tile, one after the other; `batch_size` is for GPUs."""
        for tile in tiles:
            batch = torch.from_numpy(tile)[None].to(self._dtype, memory_format=torch.channels_last)
            with torch.inference_mode():
                fields, style = self._network(batch)
            yield fields[0].float().contiguous().numpy(), style[0].float().numpy()

    overlapped = each


@dataclass
class _Slot:
    """Pinned memory of the host for one batch, and when the GPU is done with the batch."""

    tiles: Tensor
    done: torch.cuda.Event


@dataclass(frozen=True)
class _Started:
    slot: _Slot
    fields: Tensor
    styles: Tensor


class TorchGpuBackend:
    """A network on a GPU: weights and activations in bf16 where it has that, channels last.

    While a batch is computed, the next one is copied in, on its own stream. What comes out stays on the GPU. CUDA
    graphs are not used: a batch is 8 Mpx of work in about 200 kernels, which are queued well before they run.

    Parameters
    ----------
    network
        Maps (n, channels, y, x) to fields, (n, 3, y, x), and styles, (n, features).
    """

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        self.precision = pick_precision(
            precision, torch.cuda.is_bf16_supported(including_emulation=False), device_name(device)
        )
        self._device, self._dtype = device, _DTYPES[self.precision]
        self.torch_device: str | None = str(device)
        self._network = network.eval().to(device, self._dtype).to(memory_format=torch.channels_last)
        self._copy_in, self._compute = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        self._slots: dict[int, _Slot] = {}
        self._next_slot = 0
        # The weights came on another stream, for which these do not wait.
        torch.cuda.synchronize(device)

    def each(self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None) -> Generator[Output, None, None]:
        """Yield the output of each tile as `overlapped` does, copied to the host."""
        with closing(self.overlapped(tiles, batch_size)) as outputs:
            for fields, style in outputs:
                yield fields.cpu().numpy(), style.cpu().numpy()

    def overlapped(
        self, tiles: Iterable[NDArray[np.float32]], batch_size: int | None
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Yield the output of each tile, in order, from batches of `batch_size` tiles, or of as many as fit.

        The outputs are on the GPU, ready for the caller's stream.

        Raises
        ------
        DeviceError
            If a single tile does not fit the memory that is free.
        """
        tiles = iter(tiles)
        first = next(tiles, None)
        if first is None:
            return
        size = BatchSize(batch_size or self._fitting(first))
        batches = Batches(size, self._start, self._finish, relieve=self._relieve, where=device_name(self._device))
        try:
            yield from batches.run(chain([first], tiles))
        finally:
            # What is still under way reads from the slots.
            torch.cuda.synchronize(self._device)
            self._slots.clear()

    def _fitting(self, tile: NDArray[np.float32]) -> int:
        """Return the power of two of tiles that fit the free memory, by the memory that one takes."""
        torch.cuda.empty_cache()
        free_bytes, _ = torch.cuda.mem_get_info(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        try:
            self._fields_and_styles(torch.from_numpy(tile)[None].to(self._device))
        except torch.OutOfMemoryError:
            return 1
        one_tile_bytes = torch.cuda.max_memory_allocated(self._device) - before
        return fitting_tiles(free_bytes, one_tile_bytes, tile.shape[-2] * tile.shape[-1])

    def _start(self, batch: list[NDArray[np.float32]]) -> _Started:
        slot, n = self._slot(batch), len(batch)
        for i, tile in enumerate(batch):
            slot.tiles[i] = torch.from_numpy(tile)
        with torch.cuda.stream(self._copy_in):
            inputs = slot.tiles[:n].to(self._device, non_blocking=True)
        self._compute.wait_stream(self._copy_in)
        with torch.cuda.stream(self._compute):
            # Memory goes back to the stream that it came from, unless the other one is named.
            inputs.record_stream(self._compute)
            outputs = self._fields_and_styles(inputs)
            slot.done.record(self._compute)
        self._next_slot += 1
        return _Started(slot, *outputs)

    def _fields_and_styles(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        # Chosen by rule, not by timing, and without TF32, the kernels give the same bits for the same batches.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            fields, styles = self._network(inputs.to(self._dtype, memory_format=torch.channels_last))
            return fields.float().contiguous(), styles.float()

    def _relieve(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()

    def _finish(self, started: _Started) -> list[tuple[Tensor, Tensor]]:
        # The host waits, with the next batch under way: without it, it would queue batches until memory runs out.
        started.slot.done.synchronize()
        for outputs in (started.fields, started.styles):
            # Else the network's stream takes their memory again while the caller's still reads them.
            outputs.record_stream(torch.cuda.current_stream(self._device))
        return list(zip(started.fields, started.styles, strict=True))

    def _slot(self, batch: list[NDArray[np.float32]]) -> _Slot:
        """Return the next slot, made for batches of this size where there is none or it is too small."""
        i = self._next_slot % _SLOTS
        n_channels, n_y, n_x = batch[0].shape
        if i in self._slots and len(self._slots[i].tiles) >= len(batch):
            return self._slots[i]
        slot = _Slot(
            torch.empty((len(batch), n_channels, n_y, n_x), pin_memory=True),
            torch.cuda.Event(blocking=True),  # type: ignore[no-untyped-call]
        )
        self._slots[i] = slot
        return slot


def fitting_tiles(free_bytes: int, one_tile_bytes: int, tile_px: int) -> int:
    """Return how many tiles a batch has: a power of two, so that a little less free memory changes nothing.

    At least 1, at most 64, at most 8 Mpx; two batches are never computed at once, but the inputs and fields of the
    others lie in the memory as well, and so does what follows the network: half of it is left for those.
    """
    most = min(_FREE_SHARE * free_bytes / max(1, one_tile_bytes), _MOST_TILES, _ENOUGH_PX / tile_px)
    return 1 << max(0, int(most).bit_length() - 1)
