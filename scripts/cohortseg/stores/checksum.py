"""What tells the bytes of an input from all others: a SHA-256 of all of them, or of a sample of a large file."""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import Event

from cohortseg.errors import ImageError
from cohortseg.stores.location import Location

BLOCK_BYTES = 2**20
SAMPLED_BLOCKS = 64
FULL_BYTES = 2**30
"""Up to so many bytes are hashed whole; of more, 64 blocks of 1 MiB."""


@dataclass(frozen=True)
class Checksum:
    """What an input was when it was read.

    Attributes
    ----------
    size_bytes
        Of the file, or of all files of a folder.
    sha256
        Of a file, as `sha256sum` gives it. Of a folder (zarr): of a line `<bytes> <path>` for each of its files, sorted
        by path, and then of their contents, one after the other. None for inputs of more than 1 GiB.
    sampled_sha256
        Of those instead: of the lines, for a file the one line `<bytes> .`, and then of 64 blocks of 1 MiB, evenly
        spaced over the contents from the first byte to the last. It tells an input that was exchanged, cut or
        exported anew, not one in which a few bytes changed.
    """

    size_bytes: int
    sha256: str | None
    sampled_sha256: str | None


@contextmanager
def checksum_beside(location: Location) -> Iterator["Future[Checksum | None]"]:
    """Hash an input in a thread while the body runs; an error of the body stops it.

    Yields
    ------
    Future
        Of the checksum; of None for an input behind a URL, which would have to be fetched whole.
    """
    stop = Event()
    with ThreadPoolExecutor(1, thread_name_prefix="checksum") as pool:
        try:
            yield pool.submit(lambda: checksum_of(location, stop) if isinstance(location, Path) else None)
        except BaseException:
            stop.set()
            raise


def checksum_of(path: Path, stop: Event | None = None, full_bytes: int = FULL_BYTES) -> Checksum:
    """Return the checksum of a file, or of a folder of files; nothing is decoded, and memory is a block's.

    Parameters
    ----------
    stop
        Ends the hashing early, with a result of no meaning.
    full_bytes
        Up to so many bytes are hashed whole.

    Raises
    ------
    ImageError
        If a file can no longer be read.
    """
    try:
        return _hashed(path, Event() if stop is None else stop, full_bytes)
    except OSError as error:
        raise ImageError(
            f"{path} could not be read for its checksum: {error}",
            "an input that stays as it is was expected",
            "See whether it was moved, and whether its disk is well.",
        ) from error


def _hashed(path: Path, stop: Event, full_bytes: int) -> Checksum:
    files = _files_below(path) if path.is_dir() else [(path, ".")]
    sizes = [file.stat().st_size for file, _ in files]
    total, digest = sum(sizes), hashlib.sha256()
    whole = total <= full_bytes
    if path.is_dir() or not whole:
        for size, (_, name) in zip(sizes, files, strict=True):
            digest.update(f"{size} {name}\n".encode())
    spans = [(0, total)] if whole else _sampled_spans(total)
    for block in _blocks([file for file, _ in files], sizes, spans):
        digest.update(block)
        if stop.is_set():
            break
    found = digest.hexdigest()
    return Checksum(total, found if whole else None, None if whole else found)


def _files_below(folder: Path) -> list[tuple[Path, str]]:
    found = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    return sorted(((file, file.relative_to(folder).as_posix()) for file in found), key=lambda pair: pair[1])


def _sampled_spans(total: int) -> list[tuple[int, int]]:
    """Return (first byte, byte after the last) of evenly spaced blocks, the last one at the very end."""
    last = max(0, total - BLOCK_BYTES)
    starts = sorted({last * i // (SAMPLED_BLOCKS - 1) for i in range(SAMPLED_BLOCKS)})
    return [(start, min(total, start + BLOCK_BYTES)) for start in starts]


def _blocks(files: Sequence[Path], sizes: Sequence[int], spans: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the bytes of spans of files that are thought of as one after the other, up to 1 MiB at a time."""
    ends = list(accumulate(sizes))
    for start, stop in spans:
        while start < stop:
            i = bisect_right(ends, start)
            end = min(stop, ends[i])
            with files[i].open("rb") as file:
                file.seek(start - (ends[i] - sizes[i]))
                while start < end and (block := file.read(min(BLOCK_BYTES, end - start))):
                    yield block
                    start += len(block)
            start = end  # also where the file became shorter meanwhile
