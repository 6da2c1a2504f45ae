"""What Snakemake plans, and what it refuses before any job starts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

ROOT = Path(__file__).resolve().parents[2]

SAMPLE_RULES = ("segment", "rasterise", "quantify", "assess")
ALL_JOBS = {(rule, sample) for rule in SAMPLE_RULES for sample in ("z0", "z1", "lone")} | {
    ("evaluate", "lone"),
    ("evaluate_cohort", ""),
    ("assemble", "pair"),
    ("overlaps", "pair"),
    ("stitch", "pair"),
    ("benchmarks", ""),
    ("report", ""),
}


def refused(cohort: Any, *arguments: str) -> str:
    """Return the error of a run that has to stop before its first job."""
    done = cohort.snakemake(*arguments)
    assert done.returncode != 0
    assert not (cohort.folder / "results").exists()
    assert not (cohort.folder / "logs").exists()
    message = done.stdout + done.stderr
    assert "Traceback (most recent" not in message
    return message


@pytest.mark.parametrize("profile", ["local", "slurm"])
def test_the_whole_cohort_is_planned_on_one_machine_and_on_slurm(fresh: Any, profile: str) -> None:
    assert fresh.planned(profile=profile) == ALL_JOBS


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("polygons", {"segment"}),
        ("masks", {"segment", "rasterise"}),
        ("cells", {"segment", "quantify"}),
        ("stacks", {"segment", "assemble", "overlaps", "stitch"}),
        ("evaluations", {"segment", "evaluate", "evaluate_cohort"}),
        ("report", {*SAMPLE_RULES, "evaluate", "assemble", "overlaps", "stitch", "benchmarks", "report"}),
    ],
)
def test_each_capability_has_a_target_that_runs_no_more_than_it_needs(
    fresh: Any, target: str, expected: set[str]
) -> None:
    assert {rule for rule, _ in fresh.planned(target)} - {target} | ({"report"} & {target}) == expected


def test_other_forms_of_the_mask_are_made_where_the_config_asks_for_them(fresh: Any) -> None:
    files = "results/z0/mask.tif", "results/z0/boundaries.zarr"
    asked = fresh.planned("--config", 'rasterise={"tiff": true, "boundaries": true}', "--", *files)
    assert asked == {("segment", "z0"), ("rasterise", "z0")}
    done = fresh.snakemake("--dry-run", files[0])
    assert done.returncode
    assert "MissingRuleException" in done.stdout + done.stderr


def test_cells_wait_for_the_outlines_of_their_nuclei(fresh: Any) -> None:
    sheet = fresh.folder / "samples.tsv"
    lines = sheet.read_text(encoding="utf-8").splitlines()
    named = [f"{line}\t{'lone' if line.startswith('z0') else ''}" for line in lines[1:]]
    sheet.write_text("\n".join([f"{lines[0]}\tnuclei", *named]) + "\n", encoding="utf-8")
    assert fresh.planned("results/z0/cells.parquet") == {("segment", "z0"), ("segment", "lone"), ("quantify", "z0")}
    assert fresh.planned("results/z1/cells.parquet") == {("segment", "z1"), ("quantify", "z1")}


def test_other_tables_of_cells_are_made_where_the_config_asks_for_them(fresh: Any) -> None:
    files = "results/z0/cells.csv", "results/z0/neighbours.parquet"
    asked = fresh.planned("--config", 'quantify={"csv": true, "neighbours_um": 12}', "--", *files)
    assert asked == {("segment", "z0"), ("quantify", "z0")}
    done = fresh.snakemake("--dry-run", "--config", 'quantify={"csv": true}', "--", files[1])
    assert done.returncode
    assert "MissingRuleException" in done.stdout + done.stderr


def test_a_cohort_that_shares_its_intensities_is_measured_before_it_is_segmented(fresh: Any) -> None:
    jobs = fresh.planned("polygons", "--config", "normalise={policy: cohort}")
    measured = {("intensities", sample) for sample in ("z0", "z1", "lone")}
    segmented = {("segment", sample) for _, sample in measured}
    assert jobs - {("polygons", "")} == measured | {("cohort_intensities", "")} | segmented


def test_segmentation_asks_for_a_gpu_unless_the_config_says_cpu(fresh: Any) -> None:
    on_gpu = fresh.snakemake("--dry-run", "--config", "device=auto", profile="slurm")
    on_cpu = fresh.snakemake("--dry-run", profile="slurm")
    assert "gpu=1" in on_gpu.stdout + on_gpu.stderr
    assert "gpu=1" not in on_cpu.stdout + on_cpu.stderr


def test_a_repeated_z_index_stops_the_run(fresh: Any) -> None:
    sheet = fresh.folder / "samples.tsv"
    sheet.write_text(sheet.read_text(encoding="utf-8").replace("pair\t1", "pair\t0"), encoding="utf-8")
    assert "row 3, sample 'z1': z_index 0 of stack 'pair' is already used by row 2" in refused(fresh)


def test_a_file_of_several_planes_is_a_stack_by_one_row(fresh: Any) -> None:
    images = fresh.folder / "images"
    planes = np.stack([tifffile.imread(images / f"z{z}.tif") for z in (0, 1, 0)])
    tifffile.imwrite(images / "deep.tif", planes, ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    (fresh.folder / "samples.tsv").write_text("sample\timage\tplane\ndeep\timages/deep.tif\tall\n", encoding="utf-8")
    planned = fresh.planned("stacks", "--config", "stitch={max_gap: 1}")
    assert {job for job in planned if job[0] == "segment"} == {("segment", f"deep_z00{z}") for z in range(3)}
    assert {("assemble", "deep"), ("overlaps", "deep"), ("stitch", "deep")} < planned


def test_a_single_plane_of_which_all_are_wanted_stops_the_run(fresh: Any) -> None:
    (fresh.folder / "samples.tsv").write_text("sample\timage\tplane\nz\timages/z0.tif\tall\n", encoding="utf-8")
    assert "row 2, sample 'z': plane is all but" in refused(fresh)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "sample\timage\n"])
def test_an_empty_sheet_stops_the_run(fresh: Any, text: str) -> None:
    (fresh.folder / "samples.tsv").write_text(text, encoding="utf-8")
    message = refused(fresh)
    assert "samples.tsv" in message
    assert "is empty" in message or "it has no rows" in message


def test_an_unknown_key_and_a_missing_sheet_stop_the_run(fresh: Any) -> None:
    assert "devise: unknown key; did you mean 'device'?" in refused(fresh, "--config", "devise=cpu")
    assert "nowhere.tsv does not exist" in refused(fresh, "--config", "samples=nowhere.tsv")


@pytest.mark.parametrize("config", ["model=cyto3", "modalities={histology: {model: cyto3}}"])
def test_a_network_that_is_not_here_stops_the_run_and_names_the_command_that_fetches_it(
    fresh: Any, config: str
) -> None:
    message = refused(fresh, "--config", config)
    assert "the weights of model 'cyto3' are not here" in message
    assert "`cohortseg models fetch cyto3`" in message


def test_a_sample_that_is_not_in_the_sheet_is_named(fresh: Any) -> None:
    assert "sample 'z9' is not in samples.tsv" in refused(fresh, "results/z9/mask.zarr")


def test_the_workflow_serves_as_a_module_of_another_one(fresh: Any) -> None:
    (fresh.folder / "Snakefile").write_text(
        f"""
configfile: "config.yaml"

module cohort:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config
    prefix: "imaging"

use rule * from cohort as cohort_*

rule count:
    default_target: True
    input: rules.cohort_report.output.cells
    output: "count.txt"
    shell: "wc -c {{input}} > {{output}}"
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--nocolor"]
    done = subprocess.run(command, cwd=fresh.folder, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert "rule cohort_segment:" in printed
    assert "output: imaging/results/z0/polygons.parquet" in printed
    assert "input: images/z0.tif" in printed
