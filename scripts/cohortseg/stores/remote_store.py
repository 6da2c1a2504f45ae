"""A zarr store behind a URL."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from cohortseg.stores.checked_store import FrameChecks
from cohortseg.stores.location import RemoteLocation
from cohortseg.stores.remote import RemoteFiles


class RemoteStore(FrameChecks, Store):
    """A zarr store behind a URL, to be read by key: what its metadata do not list is not found."""

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, location: RemoteLocation) -> None:
        super().__init__(read_only=True)
        self._files = RemoteFiles(location)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and self._files.location == other._files.location

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """See zarr.abc.store.Store; ImageError where the server fails, TruncatedChunkError where bytes are missing."""
        start, end = _limits(byte_range)
        try:
            content = await asyncio.to_thread(self._files.read, key, start, end)
        except FileNotFoundError:
            return None
        value = (prototype or default_buffer_prototype()).buffer.from_bytes(content)
        self.check_value(key, value, byte_range)
        return value

    def value(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of a key from `start`, negative from the end, to `end`; FileNotFoundError without it."""
        return self._files.read(key, start, end)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """See zarr.abc.store.Store."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """See zarr.abc.store.Store."""
        return await self.get(key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """See zarr.abc.store.Store."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """See zarr.abc.store.Store."""
        self._check_writable()

    def list(self) -> AsyncIterator[str]:
        """See zarr.abc.store.Store."""
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """See zarr.abc.store.Store."""
        raise NotImplementedError

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """See zarr.abc.store.Store."""
        raise NotImplementedError


def _limits(byte_range: ByteRequest | None) -> tuple[int | None, int | None]:
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, byte_range.end
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, None
    return (-byte_range.suffix, None) if isinstance(byte_range, SuffixByteRequest) else (None, None)
