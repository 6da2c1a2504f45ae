"""Step batch: what each rule would do for each image, in one process."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cohortseg.errors import ImageError, SettingsError
from cohortseg.networks import Network
from cohortseg.steps import batch, segment
from cohortseg.steps.archive import results_of
from cohortseg.steps.batch import run_batch
from cohortseg.steps.batch_jobs import BatchJob, jobs_of, manifest_of
from cohortseg.steps.job import run_job
from cohortseg.steps.plan import RESULTS_VERSION, make_plan

OF_A_SAMPLE = (
    "polygons.parquet",
    "metadata.json",
    "mask.zarr",
    "cells.parquet",
    "quality.json",
    "preview.png",
    "crops.png",
)
OF_A_STACK = (
    "configs.yml", "3d_polygons.parquet", "objects.parquet", "3d_mask.zarr", "link_report.json", "through_z.png",
    "projection.png",
)  # fmt: skip
TINY = Path(__file__).resolve().parents[1] / "data" / "cohort"


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory with the tiny cohort: a stack of two planes, and an image with ground truth."""
    shutil.copytree(TINY, tmp_path / "cohort")
    monkeypatch.chdir(tmp_path / "cohort")
    return tmp_path / "cohort"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the settings that networks are loaded with from here on."""
    seen: list[Any] = []
    load = Network.of

    def of(settings: Any) -> Network:
        seen.append(settings)
        return load(settings)

    monkeypatch.setattr(segment.Network, "of", of)
    return seen


def planned(**changes: Any) -> dict[str, Any]:
    pipeline = {"infer_size": 128, "overlap_margin": 16}
    config = {"samples": "samples.tsv", "device": "cpu", "diameter": 20, "batch": 3, "pipeline": pipeline}
    return make_plan({**config, "stitch": {"num_process": 0, "z_step_um": 2}, **changes})


def jobs(plan: dict[str, Any]) -> Iterator[BatchJob]:
    (batch,) = plan["batches"].values()
    return jobs_of(plan, batch["samples"], batch["stacks"])


MARKER = Path("0000.running")


def run(plan: dict[str, Any]) -> None:
    run_batch(list(jobs(plan)), RESULTS_VERSION, MARKER, threads=1)
    assert not MARKER.exists()


def times(plan: dict[str, Any]) -> dict[tuple[str, str], int]:
    """Return when the first output of each job was written."""
    return {(job.rule, job.name): Path(next(iter(job.outputs.values()))).stat().st_mtime_ns for job in jobs(plan)}


def changed(before: dict[tuple[str, str], int], after: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    return {job for job, time in after.items() if time != before[job]}


def test_a_batch_makes_all_with_one_network_and_then_nothing(cohort: Path, loaded: list[Any]) -> None:
    plan = planned()
    run(plan)
    assert len(loaded) == 1, "rows with settings of their own share the network"
    for job in jobs(plan):
        assert all((cohort / file).exists() for file in job.outputs.values()), job.rule
        assert (cohort / "benchmarks" / job.rule / f"{job.name}.tsv").is_file()
        assert (cohort / "logs" / job.rule / f"{job.name}.log").is_file()
    before = times(plan)
    run(plan)
    assert changed(before, times(plan)) == set()


def test_what_changes_is_made_again_with_what_depends_on_it(cohort: Path) -> None:
    plan = planned()
    run(plan)
    before = times(plan)
    (cohort / "results" / "z1" / "cells.parquet").unlink()
    run(plan)
    assert changed(before, times(plan)) == {("quantify", "z1"), ("assess", "z1")}
    before = times(plan)
    (cohort / "images" / "lone.tif").touch()
    run(plan)
    lone = {(rule, "lone") for rule in ("segment", "rasterise", "quantify", "assess", "evaluate")}
    assert changed(before, times(plan)) == lone
    before = times(plan)
    run(planned(stitch={"num_process": 0, "z_step_um": 2, "iou_threshold": 0.3}))
    assert changed(before, times(plan)) == {("stitch", "pair")}
    (cohort / "results" / "lone" / "batch.json").write_text("{", encoding="utf-8")
    before = times(plan)
    run(planned(stitch={"num_process": 0, "z_step_um": 2, "iou_threshold": 0.3}))
    assert changed(before, times(plan)) == lone


def with_nuclei(cohort: Path) -> None:
    """Add a row before all others: the cells of z0 measured with nuclei that are those of `lone`, an image alike."""
    sheet = cohort / "samples.tsv"
    header, *rows = sheet.read_text(encoding="utf-8").splitlines()
    cells = "cells\timages/lone.tif\t\t\t0.5\t"
    lines = [f"{header}\tnuclei", f"{cells}\tlone", *(f"{row}\t" for row in rows)]
    sheet.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_cells_are_measured_with_nuclei_that_come_later_in_the_sheet(cohort: Path) -> None:
    with_nuclei(cohort)
    measured = {"csv": True, "neighbours_px": 30.0}
    plan = planned(quantify=measured)
    (batch,) = (each for each in plan["batches"].values() if "cells" in each["samples"])
    assert batch["samples"] == ["cells", "lone"]
    done = list(jobs_of(plan, batch["samples"], batch["stacks"]))
    run_batch(done, RESULTS_VERSION, MARKER, threads=1)
    (quantify,) = (job for job in done if job.label == "quantify/cells")
    assert {"results/lone/polygons.parquet", "results/lone/metadata.json"} < set(quantify.input_files())
    assert set(quantify.outputs) == {"cells", "csv", "neighbours"}
    table = pd.read_parquet(cohort / "results" / "cells" / "cells.parquet")
    assert table["nucleus_id"].tolist() == table["cell_id"].tolist(), "one image: each cell is its own nucleus"
    assert "nucleus_id" not in pd.read_parquet(cohort / "results" / "lone" / "cells.parquet").columns
    before = {job.label: Path(job.outputs["cells"]).stat().st_mtime_ns for job in done if job.rule == "quantify"}
    (cohort / "results" / "lone" / "polygons.parquet").touch()
    run_batch(done, RESULTS_VERSION, MARKER, threads=1)
    after = {job.label: Path(job.outputs["cells"]).stat().st_mtime_ns for job in done if job.rule == "quantify"}
    assert all(after[label] != before[label] for label in after), "other nuclei are another measurement"


def test_nuclei_that_fail_cost_the_cells_their_measurements_only(cohort: Path) -> None:
    with_nuclei(cohort)
    plan = planned()
    image = cohort / "images" / "lone.tif"
    cells = cohort / "images" / "cells.tif"
    cells.write_bytes(image.read_bytes())
    image.write_bytes(image.read_bytes()[:2000])
    plan["samples"]["cells"]["image"] = "images/cells.tif"
    with pytest.raises(ImageError, match=r"^segment of lone failed"):
        run_batch(list(jobs_of(plan, ["cells", "lone"], [])), RESULTS_VERSION, MARKER, threads=1)
    assert (cohort / "results" / "cells" / "mask.zarr").is_dir()
    assert not (cohort / "results" / "cells" / "cells.parquet").exists()


def test_a_bad_plane_costs_itself_and_its_stack_only(cohort: Path) -> None:
    plan = planned()
    run(plan)
    before = times(plan)
    image = cohort / "images" / "z1.tif"
    whole = image.read_bytes()
    image.write_bytes(whole[:2000])
    with pytest.raises(ImageError, match=r"^segment of z1 failed; what does not depend"):
        run(plan)
    left = {path.name for path in (cohort / "results" / "z1").iterdir()}
    assert left == {"failure.segment.json", "batch.json"}, "nothing old is taken for new"
    assert [path.name for path in (cohort / "results" / "stacks" / "pair").iterdir() if path.suffix == ".parquet"] == []
    assert not list((cohort / "results" / "z0").glob("failure.*"))
    image.write_bytes(whole)
    run(plan)
    assert {name for _, name in changed(before, times(plan))} == {"z1", "pair", "pair.0_1"}
    assert not list((cohort / "results" / "z1").glob("failure.*"))


def test_a_result_that_went_missing_asks_for_the_next_manifest(cohort: Path) -> None:
    plan = planned()
    first = str(Path("results/cohort/batches/0000.1.json"))
    names = plan["batches"]["0000"]
    assert names == {"samples": ["z0", "z1", "lone"], "stacks": ["pair"], "manifest": first}
    run(plan)
    Path(first).parent.mkdir(parents=True)
    Path(first).write_text("{}", encoding="utf-8")
    assert planned()["batches"]["0000"]["manifest"] == first
    shutil.rmtree(cohort / "results" / "z0" / "mask.zarr")
    second = str(Path("results/cohort/batches/0000.2.json"))
    assert planned()["batches"]["0000"]["manifest"] == second
    assert manifest_of(plan, "0000", names["samples"], names["stacks"], trusting=True) == first, "a job trusts"


def test_results_that_are_not_a_batches_own_ask_for_the_next_manifest(cohort: Path) -> None:
    plan = planned()
    run(plan)
    first = Path(plan["batches"]["0000"]["manifest"])
    first.parent.mkdir(parents=True)
    first.write_text("{}", encoding="utf-8")
    second = str(first.with_name("0000.2.json"))
    assert planned()["batches"]["0000"]["manifest"] == str(first)
    assert planned(postprocess={"min_size": 100})["batches"]["0000"]["manifest"] == second
    (cohort / "results" / "lone" / "cells.parquet").write_bytes(b"made by another program")
    assert planned()["batches"]["0000"]["manifest"] == second


def test_results_of_a_batch_are_no_single_jobs_with_other_settings(cohort: Path) -> None:
    plan = planned()
    run(plan)
    assert planned(batch=1)["batches"] == {}
    with pytest.raises(SettingsError, match=r"^3 samples were made in batches with other settings \(lone, z0, z1\)"):
        planned(batch=1, postprocess={"min_size": 100})
    shutil.rmtree(cohort / "results")
    assert planned(batch=1, postprocess={"min_size": 100})["batches"] == {}


def test_a_single_job_makes_a_batches_note_untrue(cohort: Path, job: Callable[..., Any]) -> None:
    folder = cohort.parent / "results" / "field"
    folder.mkdir(parents=True)
    (folder / "batch.json").write_text("{}", encoding="utf-8")
    run_job(job("rasterise", input={}, output={"mask": "mask.zarr"}), lambda: None)
    assert not (folder / "batch.json").exists()


def test_an_image_that_ends_the_process_is_tried_last(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned()
    order: list[str] = []

    class Ended(BaseException):
        """Stands for a process that is killed."""

    def succeeds(job: BatchJob, main: Any, threads: int) -> bool:
        order.append(f"{job.rule}/{job.name}")
        if order[-1] == "segment/z0":
            raise Ended
        for file in map(Path, job.outputs.values()):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return True

    monkeypatch.setattr(batch, "_succeeds", succeeds)
    for _ in range(2):
        with pytest.raises(Ended):
            run_batch(list(jobs(plan)), RESULTS_VERSION, MARKER, threads=1)
    assert order[0] == order[-1] == "segment/z0"
    others = [f"{rule}/{name}" for name in ("z1", "lone") for rule in ("segment", "rasterise", "quantify", "assess")]
    assert order[1:-1] == [*others, "evaluate/lone"]
    failure = json.loads((cohort / "results" / "z0" / "failure.segment.json").read_text(encoding="utf-8"))
    assert "ended, during segment of z0" in failure["message"]
    monkeypatch.undo()
    monkeypatch.chdir(cohort)
    for made in ("z1", "lone"):
        shutil.rmtree(cohort / "results" / made)
    run_batch(list(jobs(plan)), RESULTS_VERSION, MARKER, threads=1)
    assert not (cohort / "results" / "z0" / "failure.segment.json").exists()


def test_the_manifest_is_the_last_thing_and_the_only_one(cohort: Path, job: Callable[..., Any]) -> None:
    plan = planned()
    snakemake = job(
        "batch", input={}, output={"manifest": "0000.2.json"},
        batch="0000", results_version=RESULTS_VERSION, plan=plan, samples=["lone"], stacks=[],
    )  # fmt: skip
    manifest = Path(snakemake.output.manifest)
    manifest.parent.mkdir(parents=True)
    (manifest.parent / "0000.1.json").write_text("{}", encoding="utf-8")
    batch.main(snakemake)
    assert [path.name for path in manifest.parent.iterdir()] == ["0000.2.json"]
    assert json.loads(manifest.read_text(encoding="utf-8")) == {"samples": ["lone"], "stacks": []}
    assert (cohort / "results" / "lone" / "evaluation.json").is_file()
    log = Path(snakemake.log[0]).read_text(encoding="utf-8")
    assert "5 steps were done now, 0 before" in log, "the batch's own log goes on after those of its jobs"


@pytest.mark.usefixtures("cohort")
def test_an_archive_holds_what_a_batch_made() -> None:
    plan = planned()
    manifest = plan["batches"]["0000"]["manifest"]
    found = {str(path) for path in results_of(plan, [manifest, "results/cohort/summary.tsv"])}
    expected = {str(Path("results", sample, file)) for sample in ("z0", "z1", "lone") for file in OF_A_SAMPLE}
    expected |= {"results/lone/evaluation.json", "results/cohort/summary.tsv"}
    expected |= {f"results/stacks/pair/{file}" for file in OF_A_STACK}
    assert found == expected


def test_files_for_other_programs_are_made_of_each_image(cohort: Path) -> None:
    plan = planned(export={"formats": ["geojson", "imagej"]})
    run(plan)
    files = {
        f"results/{name}/exports/{file}" for name in ("z0", "z1", "lone") for file in ("cells.geojson", "rois.zip")
    }
    assert {file for job in jobs(plan) if job.rule == "export" for file in job.outputs.values()} == files
    assert [file for file in sorted(files) if not (cohort / file).is_file()] == []
    before = times(plan)
    (cohort / "results" / "z0" / "cells.parquet").unlink()
    run(plan)
    assert changed(before, times(plan)) == {
        ("quantify", "z0"), ("assess", "z0"), ("export", "z0.cells.geojson"), ("export", "z0.rois.zip"),
    }  # fmt: skip
    more = planned(export={"formats": ["geojson", "imagej", "xenium"]})
    run(more)
    assert (cohort / "results" / "lone" / "exports" / "xenium.geojson").is_file()
    assert not changed(
        times(plan), {job: time for job, time in times(more).items() if not job[1].endswith("xenium.geojson")}
    )


@pytest.mark.parametrize("ended", ["overlaps/pair.0_1", "export/z1.rois.zip"])
def test_a_note_that_the_process_ended_goes_once_its_job_is_done(cohort: Path, ended: str) -> None:
    plan = planned(export={"formats": ["imagej"]})
    run(plan)
    (job,) = (job for job in jobs(plan) if job.label == ended)
    folder = (cohort / next(iter(job.outputs.values()))).parent
    for file in map(Path, job.outputs.values()):
        file.unlink()
    MARKER.write_text(ended, encoding="utf-8")
    seen: list[str] = []
    removed = batch._removed
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batch, "_removed", lambda job: seen.extend(map(str, folder.glob("failure.*"))) or removed(job))
        run(plan)
    assert [Path(file).name for file in seen][:1] == [f"failure.{job.rule}.{job.part}.json"]
    assert not list(folder.glob("failure.*"))
