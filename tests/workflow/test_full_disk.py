"""A disk that is full or write-protected stops a run with a message; with the disk mended, the next run finishes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas
import pytest


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory, copy_cohort: Callable[[Path], Any]) -> Iterator[Any]:
    """Return the tiny cohort with its results on a disk of 64 KiB, a file system in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    cohort = copy_cohort(tmp_path_factory.mktemp("small_disk") / "cohort")
    results = cohort.folder / "results"
    results.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(results)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.strip()}")
    try:
        yield cohort
    finally:
        subprocess.run(["umount", str(results)], check=True)


def remount(cohort: Any, options: str) -> None:
    """Change the disk of the results."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(cohort.folder / "results")], check=True)


@pytest.fixture(scope="module")
def filled(small_disk: Any) -> tuple[Any, str]:
    """Return the cohort after a run that the disk was too small for, and what it printed."""
    done = small_disk.snakemake("polygons", "masks")
    assert done.returncode == 1
    return small_disk, done.stdout + done.stderr


def test_a_full_disk_is_told_in_one_line(filled: tuple[Any, str]) -> None:
    cohort, printed = filled
    assert "No space left on device; room for the results is needed" in printed
    logs = [path.read_text(encoding="utf-8") for path in (cohort.folder / "logs").rglob("*.log")]
    assert not any("Traceback" in log for log in logs)


def test_a_full_disk_holds_no_half_files(filled: tuple[Any, str]) -> None:
    results = filled[0].folder / "results"
    assert not list(results.rglob(".*.tmp-*"))
    for polygons in results.rglob("polygons.parquet"):
        assert len(geopandas.read_parquet(polygons)) == 16


def test_with_room_the_run_ends_as_undisturbed(filled: tuple[Any, str], finished_once: Any) -> None:
    cohort = filled[0]
    remount(cohort, "size=50m")
    cohort.run("polygons", "masks")
    for sample in ("lone", "z0", "z1"):
        for file in ("polygons.parquet", "mask.zarr/zarr.json", "mask.zarr/0/c/0/0"):
            path = Path("results") / sample / file
            assert (cohort.folder / path).read_bytes() == (finished_once.folder / path).read_bytes()


def test_a_write_protected_folder_is_told_and_loses_nothing(filled: tuple[Any, str]) -> None:
    cohort = filled[0]
    remount(cohort, "ro")
    done = cohort.snakemake("cells")
    remount(cohort, "rw")
    assert done.returncode == 1
    assert "Read-only file system: 'results/" in done.stdout + done.stderr
    assert {rule for rule, _ in cohort.planned("cells", "masks")} == {"quantify", "cells"}
