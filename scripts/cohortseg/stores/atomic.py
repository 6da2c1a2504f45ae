"""Files and folders appear under their final name complete, or not at all."""

import errno
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cohortseg.errors import CohortsegError, StorageError

_numbers = itertools.count()
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a path beside `final` to write a file or folder to; rename it to `final` on success.

    What was there before stays until then and is replaced, a folder included. On an error or an interrupt the
    temporary is removed. Parent folders are made. Everything is flushed to the disk first, so that a full disk or an
    exceeded quota fails here and not later.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.parent / f".{final.name}.tmp-{os.getpid()}-{next(_numbers)}"
    try:
        yield temporary
        _flush(temporary)
        _replace(temporary, final)
    except BaseException:
        _remove(temporary)
        raise


def remove_leftovers(final: Path) -> None:
    """Remove what processes left beside `final` that were killed while they wrote it; none may be writing it now."""
    if final.parent.is_dir():
        for path in final.parent.iterdir():
            if path.name.startswith(f".{final.name}.tmp-"):
                _remove(path)


@contextmanager
def storage_faults(folder: Path) -> Iterator[None]:
    """Turn what the system says of a full or write-protected disk into an error that says what to do.

    Raises
    ------
    StorageError
        Something could not be written for want of room, or since nothing may be written there. `folder`, that of the
        results, is named where the system names no file.
    """
    try:
        yield
    except CohortsegError:
        raise
    except OSError as error:
        if error.errno not in (*_NO_ROOM, errno.EROFS):
            raise
        where = error.filename or folder
        needed = "room for the results" if error.errno in _NO_ROOM else "a folder that may be written to"
        raise StorageError(
            f"{where}: {os.strerror(error.errno)}",
            f"{needed} is needed",
            "Mend that, or set results to another disk, and run the same command again.",
        ) from error


def _flush(path: Path) -> None:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(temporary: Path, final: Path) -> None:
    # a folder can only be renamed over an empty one, and a file never over a folder
    if not final.is_dir() or final.is_symlink():
        if temporary.is_dir() and (final.exists() or final.is_symlink()):
            final.unlink()
        os.replace(temporary, final)
        return
    old = temporary.with_name(f"{temporary.name}-old")
    os.replace(final, old)
    try:
        os.replace(temporary, final)
    except BaseException:
        os.replace(old, final)
        raise
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
