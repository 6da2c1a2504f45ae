"""Faults of a cluster: nothing is lost, and what comes out in the end is what an undisturbed run gives."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

GOOD = ("lone", "z0", "z1")


def of_good_samples(digests: dict[str, str], *files: str) -> dict[str, str]:
    """Return the digests of these files of the samples that nothing is wrong with; a folder's name gives all in it."""
    whole = {name: name.split("/") for name in digests}
    return {name: digests[name] for name, parts in whole.items() if parts[0] in GOOD and parts[1] in files}


def poison(folder: Path) -> None:
    """Add a truncated image to the cohort."""
    whole = (folder / "images" / "z0.tif").read_bytes()
    (folder / "images" / "poisoned.tif").write_bytes(whole[: len(whole) // 2])
    with (folder / "samples.tsv").open("a", encoding="utf-8") as sheet:
        sheet.write("poisoned\timages/poisoned.tif\t\t\t0.5\t\n")


@pytest.fixture(scope="module")
def disturbed(on_slurm: Any, cluster: Any) -> tuple[Any, str]:
    """Return a cohort after a run with four faults, and what it printed.

    One sample's job is cancelled, another's gets too little memory at first, a third's image is damaged, and the
    controller restarts while jobs run: away for less than the 9 s that SLURM's commands wait for it.
    """
    memory = "300 if attempt == 1 and wildcards.sample == 'z0' else 4000"
    cohort = on_slurm(retries=1, set_resources={"segment": {"mem_mb": memory}})
    poison(cohort.folder)
    running = cohort.launch("masks")
    cancelled = cohort.wait_for_job("segment_wildcards_lone", running)
    cluster.ask("scancel", cancelled["JobId"])
    cluster.stop_controller()
    time.sleep(3)
    cluster.start_controller()
    assert running.wait(600) == 1, cohort.printed()
    return cohort, cohort.printed()


def attempts(cohort: Any, sample: str) -> list[dict[str, str]]:
    """Return the jobs of SLURM that segmented a sample, the first one first."""
    return [job for job in cohort.jobs() if job["Comment"] == f"rule_segment_wildcards_{sample}"]


def test_a_cancelled_job_is_submitted_again(disturbed: tuple[Any, str]) -> None:
    assert [job["JobState"] for job in attempts(disturbed[0], "lone")] == ["CANCELLED", "COMPLETED"]


def test_a_job_out_of_memory_is_submitted_with_more(disturbed: tuple[Any, str]) -> None:
    first, second = attempts(disturbed[0], "z0")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("300M", "4000M")
    assert first["JobState"] != "COMPLETED"
    assert "memory" in Path(first["StdOut"]).read_text(encoding="utf-8")
    assert second["JobState"] == "COMPLETED"


def test_a_poisoned_image_fails_alone(disturbed: tuple[Any, str]) -> None:
    cohort, printed = disturbed
    assert [job["JobState"] for job in attempts(cohort, "poisoned")] == ["FAILED", "FAILED"]
    assert "poisoned.tif" in printed
    assert not (cohort.folder / "results" / "poisoned" / "polygons.parquet").exists()


def test_the_good_samples_are_as_undisturbed(
    disturbed: tuple[Any, str], digest: Any, undisturbed: dict[str, str]
) -> None:
    found = of_good_samples(digest(disturbed[0].folder / "results"), "polygons.parquet", "metadata.json", "mask.zarr")
    assert found == of_good_samples(undisturbed, "polygons.parquet", "metadata.json", "mask.zarr")
    assert len(found) > 3 * len(GOOD)


@pytest.fixture(scope="module")
def interrupted(on_slurm: Any) -> Any:
    """Return a cohort whose Snakemake was interrupted by Ctrl-C. It asks for GPUs as generic resources."""
    cohort = on_slurm(set_resources={"segment": {"gpu": 0, "gres": "'gpu:1'"}})
    running = cohort.launch("polygons")
    cohort.wait_for_job("rule_segment", running)
    running.send_signal(signal.SIGINT)
    assert running.wait(90) != 0
    return cohort


def test_an_interrupt_cancels_the_jobs(interrupted: Any, cluster: Any) -> None:
    cluster.wait_until_idle()
    assert {job["JobState"] for job in interrupted.jobs()} == {"CANCELLED"}
    assert {job["TresPerNode"] for job in interrupted.jobs()} == {"gres:gpu:1"}


def test_after_a_kill_the_documented_commands_continue(
    interrupted: Any, cluster: Any, digest: Any, undisturbed: dict[str, str]
) -> None:
    known = {job["JobId"] for job in interrupted.jobs()}
    running = interrupted.launch("polygons")
    left = interrupted.wait_for_job("rule_segment", running, other_than=known)
    running.kill()
    running.wait()
    # As config/README.md says: the jobs go on, and the lock stays.
    refused = interrupted.launch("polygons")
    assert refused.wait(120) == 1
    assert "--unlock" in interrupted.printed()
    cluster.ask("scancel", "--name", left["JobName"])
    cluster.wait_until_idle()
    interrupted.run("--unlock")
    interrupted.run("polygons")
    found = of_good_samples(digest(interrupted.folder / "results"), "polygons.parquet", "metadata.json")
    assert found == of_good_samples(undisturbed, "polygons.parquet", "metadata.json")
    assert len(found) == 2 * len(GOOD)
