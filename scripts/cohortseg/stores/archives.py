"""Many files as one zip: streamed, of any size, with the same bytes for the same files, and nothing from elsewhere."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from cohortseg.errors import ArchiveError, MissingFileError
from cohortseg.stores.atomic import atomic_path

_BLOCK_BYTES = 2**20
_SNAKEMAKES_OWN = ".snakemake_timestamp"


@dataclass(frozen=True)
class Packed:
    """A file in an archive: its name there, its size, and its SHA-256 as `sha256sum` gives it."""

    name: str
    size_bytes: int
    sha256: str


class Archive:
    """A zip that is being written, made by `write_archive`.

    Nothing is compressed: tables, masks and pictures are already. Every entry has the earliest date that a zip can
    hold, and the same rights, so that the bytes depend on names and contents only.

    Attributes
    ----------
    packed
        What was added so far, in order.
    """

    def __init__(self, stored: zipfile.ZipFile) -> None:
        self._stored = stored
        self.packed: list[Packed] = []

    def add(self, path: Path, name: str) -> Packed:
        """Copy a file into the archive, a block at a time."""
        with path.open("rb") as file:
            return self._copy(file, os.fstat(file.fileno()).st_size, name)

    def add_bytes(self, content: bytes, name: str) -> Packed:
        """Add a file of this content."""
        return self._copy(BytesIO(content), len(content), name)

    def _copy(self, file: IO[bytes], size_bytes: int, name: str) -> Packed:
        entry = zipfile.ZipInfo(name)
        entry.create_system = 3  # Unix, on every system, for the rights below
        entry.external_attr = 0o100644 << 16
        entry.file_size = size_bytes  # above 2 GiB, zipfile then makes it a ZIP64 entry
        digest, copied = hashlib.sha256(), 0
        with self._stored.open(entry, "w") as target:
            while block := file.read(_BLOCK_BYTES):
                target.write(block)
                digest.update(block)
                copied += len(block)
        packed = Packed(name, copied, digest.hexdigest())
        self.packed.append(packed)
        return packed


@contextmanager
def write_archive(path: Path) -> Iterator[Archive]:
    """Write a zip, which appears when it is complete."""
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED, allowZip64=True) as stored,
    ):
        yield Archive(stored)


def files_of(path: Path, root: Path) -> list[Path]:
    """Return a file, or all files below a folder, sorted; Snakemake's own mark in a folder left out.

    Raises
    ------
    MissingFileError
        There is nothing at `path`.
    ArchiveError
        Something is not below `root`, or reached through a link there: what lies elsewhere is not packed by accident.
    """
    if not path.exists():
        raise MissingFileError(f"{path} does not exist", "expected a result", "Run the workflow to its end first.")
    entries = [path]
    entries += [Path(folder) / name for folder, folders, names in os.walk(path) for name in (*folders, *names)]
    home, here = root.resolve(), root.absolute()
    for entry in entries:
        place = entry.absolute()
        # Where a link is anywhere on the way, the two differ.
        if not place.is_relative_to(here) or entry.resolve() != home / place.relative_to(here):
            raise ArchiveError(
                f"{entry} is a link, or lies outside {root}",
                f"an archive holds what lies in {root} only",
                "Put the file itself there.",
            )
    return sorted(entry for entry in entries if entry.is_file() and entry.name != _SNAKEMAKES_OWN)
