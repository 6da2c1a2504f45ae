"""Real runs: everything is made, and made again only where something changed."""

import json
import shutil
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import tifffile

OF_SAMPLES = (
    "metadata.json",
    "polygons.parquet",
    "mask.zarr",
    "cells.parquet",
    "quality.json",
    "preview.png",
    "crops.png",
)
OF_STACKS = (
    "configs.yml", "3d_polygons.parquet", "objects.parquet", "3d_mask.zarr", "link_report.json", "through_z.png",
    "projection.png",
)  # fmt: skip
OF_COHORT = (
    "summary.tsv", "cells.parquet", "report.html", "evaluation.tsv", "evaluation_summary.tsv", "evaluation.png",
    "benchmarks.tsv", "benchmarks.png",
)  # fmt: skip


def test_a_run_makes_every_result_with_logs_and_benchmarks(finished: Any) -> None:
    results = finished.folder / "results"
    expected = [results / sample / file for sample in ("z0", "z1", "lone") for file in OF_SAMPLES]
    expected += [results / "stacks" / "pair" / file for file in OF_STACKS]
    expected += [results / "cohort" / file for file in OF_COHORT]
    expected += [results / "lone" / "evaluation.json"]
    expected += [finished.folder / "logs" / "segment" / "z0.log", finished.folder / "logs" / "report" / "cohort.log"]
    expected += [finished.folder / "benchmarks" / "stitch" / "pair.tsv"]
    assert [str(path) for path in expected if not path.exists()] == []


def test_what_every_job_took_is_in_the_table_and_the_report(finished: Any) -> None:
    cohort = finished.folder / "results" / "cohort"
    table = pd.read_csv(cohort / "benchmarks.tsv", sep="\t", keep_default_na=False)
    jobs = set(table.loc[table["stage"] == "", ["step", "name"]].itertuples(index=False, name=None))
    steps = ("segment", "rasterise", "quantify", "assess")
    assert jobs == {(step, name) for step in steps for name in ("z0", "z1", "lone")} | {
        ("evaluate", "lone"), ("assemble", "pair"), ("stitch", "pair"),
    }  # fmt: skip
    assert (table["seconds"].astype(float) >= 0).all()
    assert "benchmarks.tsv" in (cohort / "report.html").read_text(encoding="utf-8")


def test_one_cell_id_means_one_cell_in_every_file_of_a_sample(finished: Any) -> None:
    lone = finished.folder / "results" / "lone"
    polygons = geopandas.read_parquet(lone / "polygons.parquet")
    cells = pd.read_parquet(lone / "cells.parquet")
    assert len(polygons) > 0
    assert polygons["cell_id"].tolist() == cells["cell_id"].tolist()
    assert polygons["area_px"].tolist() == cells["area_px"].tolist()


def test_a_rerun_does_nothing_even_after_the_folder_was_moved(finished: Any) -> None:
    assert finished.planned() == set()
    assert "Nothing to be done" in finished.run()


def test_a_touched_image_reruns_itself_and_what_depends_on_it(finished: Any) -> None:
    (finished.folder / "images" / "z0.tif").touch()
    assert finished.planned() == {
        ("segment", "z0"),
        ("rasterise", "z0"),
        ("quantify", "z0"),
        ("assess", "z0"),
        ("assemble", "pair"),
        ("overlaps", "pair"),
        ("stitch", "pair"),
        ("benchmarks", ""),
        ("report", ""),
    }


def test_another_min_size_reruns_segmentation_and_below(finished: Any) -> None:
    jobs = finished.planned("--config", "postprocess={min_size: 20}")
    assert {sample for rule, sample in jobs if rule == "segment"} == {"z0", "z1", "lone"}
    assert {rule for rule, _ in jobs} == {
        "segment", "rasterise", "quantify", "assess", "evaluate", "evaluate_cohort", "assemble", "overlaps", "stitch",
        "benchmarks", "report",
    }  # fmt: skip


def test_another_stitching_threshold_reruns_stitching_and_the_report_only(finished: Any) -> None:
    jobs = finished.planned("--config", "stitch={iou_threshold: 0.3, num_process: 0, z_step_um: 2}")
    assert jobs == {("stitch", "pair"), ("benchmarks", ""), ("report", "")}


def test_another_device_or_number_of_workers_reruns_no_segmentation(finished: Any) -> None:
    pipeline = "pipeline={infer_size: 128, overlap_margin: 16, batch_size: 2, n_postprocess_processes: 1}"
    jobs = finished.planned("--config", "device=auto", pipeline)
    assert {rule for rule, _ in jobs} <= {"report"}


def test_a_row_that_changes_reruns_its_own_sample(finished: Any) -> None:
    sheet = finished.folder / "samples.tsv"
    sheet.write_text(sheet.read_text(encoding="utf-8").replace("images/lone.tif\t\t\t0.5", "images/lone.tif\t\t\t0.6"))
    assert finished.planned() == {
        ("segment", "lone"), ("rasterise", "lone"), ("quantify", "lone"), ("assess", "lone"),
        ("evaluate", "lone"), ("evaluate_cohort", ""), ("benchmarks", ""), ("report", ""),
    }  # fmt: skip


def test_a_deleted_mask_is_the_only_thing_that_is_rebuilt_and_what_it_took_is_told(finished: Any) -> None:
    mask = finished.folder / "results" / "z1" / "mask.zarr"
    shutil.rmtree(mask)
    assert finished.planned() == {("rasterise", "z1"), ("benchmarks", ""), ("report", "")}
    finished.run()
    assert (mask / "zarr.json").is_file()
    assert finished.planned() == set()


def test_a_scattered_image_gives_the_bytes_of_one_job(fresh: Any, finished_once: Any) -> None:
    sheet = (fresh.folder / "samples.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in sheet]
    rows[0].append("scatter")
    for row in rows[1:]:
        row.append("3" if row[0] == "lone" else "")
    (fresh.folder / "samples.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    printed = fresh.run("polygons")
    assert printed.count("rule segment_part:") == 3
    for sample in ("lone", "z0"):
        results = [cohort.folder / "results" / sample / "polygons.parquet" for cohort in (fresh, finished_once)]
        assert results[0].read_bytes() == results[1].read_bytes()
    # Parts are gone once they are joined, and nothing is left to do.
    left = {path.name for path in (fresh.folder / "results" / "lone").iterdir()}
    assert left == {"metadata.json", "polygons.parquet"}
    assert fresh.snakemake("--dry-run", "polygons").stdout.count("rule segment_part:") == 0


def test_a_part_that_fails_is_in_the_report(fresh: Any) -> None:
    (fresh.folder / "images" / "lone.tif").write_bytes((fresh.folder / "images" / "lone.tif").read_bytes()[:2000])
    done = fresh.snakemake("--config", "scatter=2")
    assert done.returncode != 0
    report = (fresh.folder / "results" / "cohort" / "report.html").read_text()
    assert "lone.tif is truncated" in report
    assert (fresh.folder / "results" / "z0" / "polygons.parquet").is_file()


def test_the_planes_of_one_file_become_the_stack_that_single_files_become(finished: Any) -> None:
    images, sheet = finished.folder / "images", finished.folder / "samples.tsv"
    planes = np.stack([tifffile.imread(images / f"z{z}.tif") for z in (0, 1)])
    tifffile.imwrite(images / "deep.tif", planes, ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    sheet.write_text("sample\timage\tplane\tpixel_size_um\ndeep\timages/deep.tif\tall\t0.5\n", encoding="utf-8")
    finished.run("stacks")
    pair, deep = (finished.folder / "results" / "stacks" / name for name in ("pair", "deep"))
    for file in ("objects.parquet", "3d_polygons.parquet", "through_z.png"):
        assert (deep / file).read_bytes() == (pair / file).read_bytes()
    assert len(pd.read_parquet(deep / "objects.parquet")) > 0
    report = json.loads((deep / "link_report.json").read_text(encoding="utf-8"))
    assert report["through_z"]["images"] == 2
