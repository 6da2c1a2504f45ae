"""Jobs of one user on one machine take a GPU each, wait where all are taken, and leave nothing behind."""

import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cohortseg.errors import DeviceError
from cohortseg.networks import claims
from cohortseg.networks.claims import claim_gpu, lock_folder

TWO = ("GPU-a", "GPU-b")

HOLD = """
import sys, time
from pathlib import Path
from cohortseg.networks.claims import claim_gpu
claim = claim_gpu(sys.argv[2].split(","), Path(sys.argv[1]), given=False, sleep=lambda _: time.sleep(0.01))
"""


def process(folder: Path, then: str) -> subprocess.Popen[str]:
    """Start a process that claims one of two GPUs, and then runs some code that knows its `claim`."""
    command = [sys.executable, "-c", HOLD + then, str(folder), ",".join(TWO)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def never(_: float) -> None:
    pytest.fail("it waited")


def test_two_jobs_take_two_gpus(tmp_path: Path) -> None:
    first, second = (claim_gpu(TWO, tmp_path, given=False, sleep=never) for _ in range(2))
    assert (first.index, second.index) == (0, 1)
    first.release()
    assert claim_gpu(TWO, tmp_path, given=False, sleep=never).index == 0
    second.release()


def test_a_third_job_waits_for_the_first_that_ends_and_says_for_whom(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    held = [claim_gpu(TWO, tmp_path, given=False) for _ in range(2)]
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            held[1].release()

    assert claim_gpu(TWO, tmp_path, given=False, sleep=sleep).index == 1
    assert len(pauses) == 3
    waits = [record.message for record in caplog.records if "waiting for a GPU" in record.message]
    assert waits == [
        f"waiting for a GPU; each is in use by another job (GPU 0: process {os.getpid()}, GPU 1: process {os.getpid()})"
    ]


def test_the_same_gpu_is_known_whatever_else_a_job_sees(tmp_path: Path) -> None:
    assert claim_gpu(("GPU-b",), tmp_path, given=False, sleep=never).index == 0
    assert claim_gpu(("GPU-b", "GPU-a"), tmp_path, given=False, sleep=never).index == 1


def test_a_gpu_that_was_given_is_used_without_waiting_and_shared_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = claim_gpu(("GPU-a",), tmp_path, given=True, sleep=never)
    assert caplog.text == ""
    assert claim_gpu(("GPU-a",), tmp_path, given=True, sleep=never).index == 0
    assert "the GPU that was given to this job is in use" in caplog.text
    held.release()


def test_a_killed_job_frees_its_gpu(tmp_path: Path) -> None:
    with process(tmp_path, "print(claim.index, flush=True); time.sleep(600)") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "0\n"
        other = claim_gpu(TWO, tmp_path, given=False, sleep=never)
        assert other.index == 1
        holder.send_signal(signal.SIGKILL)
    assert claim_gpu(TWO, tmp_path, given=False, sleep=never).index == 0
    other.release()


def test_no_two_of_many_jobs_are_on_one_gpu_at_a_time(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    # A second job on the same GPU would find the file of the first.
    work = "mark = Path(sys.argv[1]).parent / str(claim.index); mark.touch(exist_ok=False); time.sleep(0.1)"
    jobs = [process(locks, f"{work}; mark.unlink(); print(claim.index)") for _ in range(6)]
    printed = [job.communicate(timeout=60)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 6
    assert set(printed) == {"0\n", "1\n"}


def test_the_folder_of_locks_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(claims, "Path", lambda path: tmp_path / Path(path).name)
    folder = lock_folder()
    assert folder == lock_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(DeviceError, match="is not a folder of this user"):
        lock_folder()
