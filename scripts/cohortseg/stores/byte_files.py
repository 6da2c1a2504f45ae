"""Stretches of bytes of a file, here or behind a URL."""

import io
import os
from abc import ABC, abstractmethod
from pathlib import Path

from cohortseg.errors import ImageError
from cohortseg.stores.location import Location, RemoteLocation
from cohortseg.stores.remote import RemoteFiles


class ByteFile(ABC):
    """An open file; reading at a position shares no cursor, so that threads need no lock.

    Attributes
    ----------
    path
        Where it lies.
    size_bytes
        Its size.
    """

    path: Location
    size_bytes: int

    @property
    def decoded_bytes(self) -> int:
        """Size of all that was decoded so far, of files whose bytes are."""
        return 0

    @abstractmethod
    def read(self, offset: int, n_bytes: int) -> bytes:
        """Read a stretch, whole; ImageError where that cannot be."""

    def close(self) -> None:
        """Release the file."""
        return

    def check(self, offset: int, n_bytes: int, what: str) -> None:
        """Raise ImageError where a stretch reaches beyond the end of the file."""
        if offset < 0 or n_bytes < 0 or offset + n_bytes > self.size_bytes:
            raise ImageError(
                f"{self.path.name} is truncated: {what} ends at byte {offset + n_bytes}, the file at {self.size_bytes}",
                "expected a complete file",
                "Copy or export the image again.",
            )


def open_bytes(path: Location) -> ByteFile:
    """Open a file for reading."""
    return RemoteFile(path) if isinstance(path, RemoteLocation) else OpenFile(path)


class OpenFile(ByteFile):
    """A file of this computer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        self.size_bytes = os.fstat(self.descriptor).st_size

    def close(self) -> None:
        """See ByteFile."""
        os.close(self.descriptor)

    def read(self, offset: int, n_bytes: int) -> bytes:
        """See ByteFile; several calls where the system returns less than asked for."""
        parts = []
        while n_bytes > 0:
            part = os.pread(self.descriptor, n_bytes, offset)
            if not part:
                self.check(offset, n_bytes, "a segment")
                raise ImageError(
                    f"{self.path.name} became shorter while it was read", "expected a file at rest", "Run again."
                )
            parts.append(part)
            offset, n_bytes = offset + len(part), n_bytes - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class RemoteFile(ByteFile):
    """A file behind a URL, whose server must serve ranges."""

    def __init__(self, path: RemoteLocation) -> None:
        self.path = path
        self._files = RemoteFiles(path)
        self.size_bytes = self._files.size()

    def read(self, offset: int, n_bytes: int) -> bytes:
        """See ByteFile."""
        self.check(offset, n_bytes, "a segment")
        content = self._files.read(start=offset, end=offset + n_bytes) if n_bytes else b""
        if len(content) != n_bytes:
            raise ImageError(
                f"{self.path} gives {len(content)} bytes where {n_bytes} were asked for",
                "expected a file at rest",
                "Run again.",
            )
        return content


class ByteStream(io.RawIOBase):
    """A file with a cursor, for libraries that want one."""

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def seekable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See io.RawIOBase."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """See io.RawIOBase."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See io.RawIOBase."""
        n_bytes = max(0, min(len(buffer), self._file.size_bytes - self._position))
        buffer[:n_bytes] = self._file.read(self._position, n_bytes)
        self._position += n_bytes
        return n_bytes
