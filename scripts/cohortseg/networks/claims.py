"""Which of several GPUs a job takes: one that no other job of this user has, held by a lock while the process lives."""

import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cohortseg.errors import DeviceError

_LOGGER = logging.getLogger("cohortseg")
_PAUSE_S = 1.0


@dataclass(frozen=True)
class GpuClaim:
    """A GPU that this process took.

    Attributes
    ----------
    index
        Its place among the GPUs that the process sees.
    descriptor
        The open lock file; None where another process holds the lock and the GPU is shared.
    """

    index: int
    descriptor: int | None

    def release(self) -> None:
        """Give it back; the end of the process, however it comes, does the same."""
        if self.descriptor is not None:
            os.close(self.descriptor)


def claim_gpu(
    gpus: Sequence[str], folder: Path, *, given: bool, sleep: Callable[[float], None] = time.sleep
) -> GpuClaim:
    """Take the first GPU that no other process holds; wait where all are held.

    The locks are advisory (flock): they order the jobs of one user on one machine, and go with their process, so that
    nothing is left to clean up after a kill.

    Parameters
    ----------
    gpus
        What tells the GPUs that this process sees from all others of the machine, such as their UUIDs; at least one.
    folder
        Of the lock files, one a GPU.
    given
        The only GPU of `gpus` was given to this job, by a scheduler or by hand: it is used without waiting, shared
        where another process holds it.
    sleep
        Waits for so many seconds.
    """
    told = False
    while True:
        for index, gpu in enumerate(gpus):
            descriptor = _lock(folder / f"{gpu}.lock")
            if descriptor is not None:
                return GpuClaim(index, descriptor)
        holders = ", ".join(f"GPU {index}: process {_holder(folder / f'{gpu}.lock')}" for index, gpu in enumerate(gpus))
        if given:
            _LOGGER.warning("the GPU that was given to this job is in use (%s); it is shared", holders)
            return GpuClaim(0, None)
        if not told:
            _LOGGER.info("waiting for a GPU; each is in use by another job (%s)", holders)
            told = True
        sleep(_PAUSE_S)


def lock_folder() -> Path:
    """Return the folder of this user's locks on this machine; it does not depend on the environment of the process.

    Raises
    ------
    DeviceError
        If it belongs to somebody else, who could then hold every GPU.
    """
    folder = Path(f"/tmp/cohortseg-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise DeviceError(
            f"{folder} is not a folder of this user",
            "the locks that keep two jobs from one GPU lie there",
            "Have it removed.",
        )
    return folder


def _lock(path: Path) -> int | None:
    """Return the open file with its lock, or None where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def _holder(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace") or "unknown"
