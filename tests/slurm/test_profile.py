"""`snakemake --profile slurm` on a real SLURM gives what the local profile gives, one GPU job at a time."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "cohort"


@pytest.fixture(scope="module")
def cohort(on_slurm: Any, request: pytest.FixtureRequest) -> Any:
    """Return the tiny cohort after its run, its short jobs in one.

    Its config says `device: cpu`; its jobs ask for the GPU all the same.
    """
    cohort = on_slurm(set_resources={"segment": {"gpu": 1}}, group_components=["cells=8"])
    running = cohort.launch()
    request.getfixturevalue("undisturbed")  # meanwhile: a cluster's run is mostly waiting
    assert running.wait(600) == 0, cohort.printed()
    return cohort


def test_the_results_are_those_of_the_local_profile(cohort: Any, digest: Any, undisturbed: dict[str, str]) -> None:
    assert digest(cohort.folder / "results") == undisturbed
    assert "z0/mask.zarr/zarr.json" in undisturbed


def test_only_segmentations_take_the_gpu_and_one_at_a_time(cohort: Any) -> None:
    jobs = cohort.jobs()
    on_gpu = [job for job in jobs if "rule_segment" in job["Comment"]]
    assert len(on_gpu) == 3
    assert {(job["Partition"], job["TresPerJob"]) for job in on_gpu} == {("gpu", "gres:gpu:1")}
    assert {(job["Partition"], job.get("TresPerJob")) for job in jobs if job not in on_gpu} == {("cpu", None)}
    times = sorted((job["StartTime"], job["EndTime"]) for job in on_gpu)
    assert all(end <= start for (_, end), (start, _) in pairwise(times))


def test_what_ran_on_a_cpu_says_so(cohort: Any) -> None:
    facts = json.loads((cohort.folder / "results" / "lone" / "metadata.json").read_text(encoding="utf-8"))
    assert facts["device"] == "cpu"


def test_a_second_run_has_nothing_to_do(cohort: Any) -> None:
    assert "Nothing to be done" in cohort.dry_run().stdout


def test_batches_and_parts_give_the_same(
    on_slurm: Any, digest: Any, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(TINY, source, ignore=shutil.ignore_patterns(".snakemake", "results"))
    with (source / "config.yaml").open("a", encoding="utf-8") as config:
        config.write("batch: 2\n")
    sheet = (source / "samples.tsv").read_text(encoding="utf-8").splitlines()
    parts = ["scatter", *("2" if row.startswith("lone") else "" for row in sheet[1:])]
    (source / "samples.tsv").write_text("".join(f"{row}\t{n}\n" for row, n in zip(sheet, parts, strict=True)))
    cohort = on_slurm(source)
    cohort.run("masks")
    found = digest(cohort.folder / "results")
    assert len([job for job in cohort.jobs() if "rule_batch" in job["Comment"]]) == 1
    assert len([job for job in cohort.jobs() if "rule_segment_part" in job["Comment"]]) == 2
    same = [name for name in undisturbed if name.endswith("polygons.parquet") or "mask.zarr/" in name]
    assert {name: found.get(name) for name in same} == {name: undisturbed[name] for name in same}
    assert len(same) > 10


def test_real_planes_are_stitched_as_by_the_local_profile(
    on_slurm: Any, run_locally: Any, digest: Any, shared_data: Path, tmp_path: Path
) -> None:
    if not (shared_data / "vizgen_z").is_dir():
        pytest.skip("the seven planes (shared/data/vizgen_z beside the project) are not here")
    settings = yaml.safe_load((ROOT / "config" / "vizgen.yaml").read_text(encoding="utf-8"))
    changed = {"samples": str(ROOT / "config" / "vizgen.tsv"), "results": "results", "device": "cpu"}
    source = tmp_path / "vizgen"
    source.mkdir()
    (source / "config.yaml").write_text(yaml.safe_dump(settings | changed), encoding="utf-8")
    cohort = on_slurm(source, set_resources={"segment": {"gpu": 1}})
    running = cohort.launch("stacks")
    expected = run_locally(source, "stacks")
    assert running.wait(600) == 0, cohort.printed()
    assert digest(cohort.folder / "results") == expected
    assert [name for name in expected if name.endswith("3d_polygons.parquet")]
