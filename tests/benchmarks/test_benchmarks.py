"""The benchmarks run: small sizes, no times asserted."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cohortseg.arrays import Box
from cohortseg.networks import Network, load_checkpoint
from cohortseg.settings import SegmentSettings
from cohortseg.stores.images import FIRST_PAGE, open_image

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def _as_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(HERE / script), *arguments]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1] / "scripts")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(printed: str) -> list[list[str]]:
    """Return the cells of each row of the tables that were printed."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("| ")]


def test_scaling_prints_a_row_for_each_side(tmp_path: Path) -> None:
    printed = run("bench.py", "scaling", "--sides", "512", "256", "--output", str(tmp_path / "tables.md"))
    head, _, small, large = rows(printed)
    cells = head.index("cells")
    assert (small[0], large[0]) == ("256", "512")
    assert int(large[cells]) > int(small[cells]) > 0
    assert "Peak memory at 512 px" in printed
    assert (tmp_path / "tables.md").read_text() == printed


def test_stitching_is_compared_with_the_references_and_links_are_the_same() -> None:
    printed = run("bench.py", "stitch", "--stitch-sides", "1040", "--repeats", "1")
    head, _, *methods = rows(printed)
    links = head.index("links")
    assert [row[2] for row in methods] == ["STRtree and IoU of polygons", "`cellpose.utils.stitch3D`", "cohortseg"]
    assert [row[links].split(", ")[1] for row in methods] == ["the same"] * 3
    assert 500 < int(methods[-1][links].split(", ")[0]) < 676


def test_made_planes_are_cells_apart_that_their_table_describes(tmp_path: Path) -> None:
    from made_planes import write_plane

    from cohortseg import rasterise
    from cohortseg.shapes import rasterise_into
    from cohortseg.stores.polygons import read_polygons

    whole = Box(0, 0, 1200, 1200)
    for plane in (0, 1):
        n_cells = write_plane(tmp_path / "p.parquet", 1200, plane)
        table = read_polygons(tmp_path / "p.parquet", columns=None, box=None)
        labels, overlapped_px = rasterise_into(table.geometry.to_numpy(), table["cell_id"].to_numpy(), whole)
        assert table["cell_id"].tolist() == list(range(1, n_cells + 1))
        assert overlapped_px == 0
        assert np.bincount(labels.ravel())[1:].tolist() == table["area_px"].tolist()
        centre = np.argwhere(rasterise(table, (1200, 1200)) == 7).mean(axis=0) + 0.5
        np.testing.assert_allclose(centre, table.loc[6, ["centroid_y", "centroid_x"]].to_numpy(float))


def test_a_post_processing_is_compared_with_that_of_cellpose(tmp_path: Path) -> None:
    from bench import Run, postprocess

    given = argparse.Namespace(flow_side=256, repeats=1)
    head, _, theirs, ours = rows("\n".join(postprocess(Run(tmp_path, None, given))))
    assert theirs[0].startswith("`compute_masks`, Cellpose 4")
    assert abs(int(ours[head.index("cells")]) - 56) <= 3
    assert float(theirs[head.index("our AP@0.9 against it")]) > 0.9


def test_rasterising_draws_what_others_draw() -> None:
    printed = run("bench.py", "rasterise", "--raster-side", "400", "--repeats", "1")
    head, _, *ways = rows(printed)
    assert "400² px with 100 cells" in printed
    assert [way[head.index("the same pixels")] for way in ways] == ["yes"] * 3


def test_measuring_finds_what_scikit_image_finds() -> None:
    printed = run("bench.py", "measure", "--measure-side", "400", "--repeats", "1")
    assert "400² px with 100 cells and 4 channels" in printed
    assert float(printed.split("is above 1: ")[1].split()[0].rstrip(".")) < 1e-9


def test_the_gpus_benchmark_runs_on_a_cpu() -> None:
    head, _, *segmented = rows(run("gpu.py", "--device", "cpu", "--sides", "300"))
    assert [row[:2] for row in segmented] == [["300", "tiff"], ["300", "zarr"]]
    found = [int(row[head.index("cells")]) for row in segmented]
    assert found[0] == found[1]
    assert 40 <= found[0] <= 60


def test_the_peak_of_a_process_is_its_own() -> None:
    from processes import run as measured

    held = np.ones(2**25)
    del held
    ran = measured([sys.executable, "-S", "-c", "print('{\"n\": 3}')"])
    assert ran.said == {"n": 3}
    assert ran.peak_bytes < 2**26


def test_a_process_that_fails_or_takes_too_much_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    from processes import run as measured

    with pytest.raises(subprocess.CalledProcessError) as failed:
        measured([sys.executable, "-c", "raise SystemExit(3)"])
    assert failed.value.returncode == 3
    take = [sys.executable, "-S", "-c", "bytearray(2**30)"]
    measured(take)
    with pytest.raises(subprocess.CalledProcessError):
        measured(take, 2**29)
    assert "MemoryError" in capfd.readouterr().err


@pytest.mark.parametrize("side_px", [600, 2100])
def test_made_images_are_what_they_say(side_px: int, tmp_path: Path) -> None:
    from made import BASE_PX, base_field, mirrored, write_tiff, write_zarr

    base, _ = base_field(BASE_PX)
    expected = mirrored(base, 0, 0, side_px, side_px)
    np.testing.assert_array_equal(expected[:BASE_PX, :BASE_PX], base[:side_px, :side_px])
    for write, path in ((write_tiff, tmp_path / "a.tif"), (write_zarr, tmp_path / "a.zarr")):
        write(path, side_px)
        with open_image(path, FIRST_PAGE) as source:
            np.testing.assert_array_equal(source.read((0,), Box(0, 0, side_px, side_px))[0], expected)


def test_the_wide_network_computes_what_the_small_one_does(tmp_path: Path) -> None:
    from wide import WIDTHS, write_wide_checkpoint

    write_wide_checkpoint(tmp_path / "wide.pth")
    wide = load_checkpoint(tmp_path / "wide.pth")
    assert wide.facts.widths == WIDTHS
    assert wide.n_parameters == pytest.approx(6.6e6, rel=1e-3)
    used = [layer.weight for layer in wide.network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert all((weight != 0).float().mean() > 0.6 for weight in used[:-1])
    tile = np.random.default_rng(0).random((1, 2, 64, 64), np.float32)
    given = {"device": "cpu", "backend": "torch"}
    small = Network.of(SegmentSettings.model_validate(given))
    large = Network.of(SegmentSettings.model_validate({**given, "model_path": str(tmp_path / "wide.pth")}))
    np.testing.assert_allclose(large.forward(tile)[0], small.forward(tile)[0], atol=1e-4)


def test_the_cost_of_a_network_is_that_of_its_layers() -> None:
    from floors import Cost, Speed, cost_of

    from cohortseg.networks import find_checkpoint

    cost = cost_of(find_checkpoint(SegmentSettings()))
    finest = 2 * 9 * (2 * 16 + 3 * 16 * 16 + 32 * 16 + 3 * 16 * 16) + 2 * (2 * 16 + 32 * 16)
    assert finest < cost.flop < 5 * finest
    speed = Speed(flop_per_s=100, memory_bytes_per_s=10, bus_bytes_per_s=5, bytes_per_value=2)
    assert speed.floors_s(Cost(flop=7, values=3), 50) == (3.5, 30.0, 160.0)


def test_a_cohort_of_many_images_is_counted(tmp_path: Path) -> None:
    printed = run("workflow.py", "many", "--images", "6", "--batch", "3", "--scratch", str(tmp_path))
    found = dict(rows(printed)[2:])
    assert "6 done" in printed
    assert found["jobs"] == "4", "two batches, the benchmarks and the report"


def test_the_plan_counts_the_files_of_a_mask_as_they_are_written(tmp_path: Path) -> None:
    from plan import Figures, mask_files

    from cohortseg.stores.labels import LabelLayout, write_labels

    side = 300
    labels = np.ones((side, side), np.uint32)
    write_labels(
        tmp_path / "mask.zarr",
        labels.shape,
        lambda box: labels[box.slices],
        layout=LabelLayout("a", 64, 128, None, None),
        workers=1,
    )
    written = [path for path in (tmp_path / "mask.zarr").rglob("*") if path.is_file()]
    # Snakemake adds one more.
    assert mask_files(Figures(side_px=side, shard_px=128, chunk_px=64)) == len(written) + 1


def test_the_plan_names_the_part_that_is_busy_longest() -> None:
    from plan import Figures, on_cpu, parts

    def slowest(figures: Figures) -> str:
        hours = parts(figures)
        return max(hours, key=lambda part: hours[part])

    assert slowest(on_cpu(Figures())) == "devices: the network"
    assert slowest(Figures()) == "storage, reading"
    assert slowest(Figures(cores_per_device=2)) == "cores beside the devices: the rest of the segmentation"
    assert slowest(Figures(jobs_per_s=1)) == "scheduler: submitting"
    one, ten = (parts(Figures(slides=slides))["storage, writing"] for slides in (1000, 10_000))
    assert ten == pytest.approx(10 * one)
    network = parts(on_cpu(Figures(start_s=0)))["devices: the network"]
    assert network == pytest.approx(10_000 * 1600 / 1.12 / 64 / 3600)


def test_the_plan_counts_the_jobs_of_a_slide_that_the_workflow_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from plan import Figures, jobs

    from cohortseg.steps.batch_jobs import jobs_of
    from cohortseg.steps.plan import make_plan

    monkeypatch.chdir(Path(__file__).resolve().parents[1] / "data" / "cohort")
    plan = make_plan({"samples": "samples.tsv", "device": "cpu", "stitch": {"z_step_um": 2}})
    of_a_slide = list(jobs_of(plan, ["z0"], []))
    assert jobs(Figures(slides=11)) - jobs(Figures(slides=10)) == len(of_a_slide)


def test_the_plan_prints_every_figure_that_it_was_made_from() -> None:
    from dataclasses import fields

    from plan import Figures

    printed = run("plan.py", "--slides", "300", "--device-s", "22")
    told = {row[0]: row[1] for row in rows(printed)}
    assert (told["slides"], told["device_s"]) == ("300", "22")
    assert {field.name for field in fields(Figures)} <= set(told)
    assert printed.startswith("300 slides of 40,000 × 40,000 px on 64 devices.")


def test_the_viewer_is_measured_for_each_kind_of_image(tmp_path: Path) -> None:
    printed = run("viewing.py", str(tmp_path), "--side", "1500", "--tiles", "10")
    asked = {(image, what) for image, what, *_ in rows(printed)[2:]}
    assert {(image, "tiles") for image in ("pyramid", "zarr", "strips")} <= asked
    assert ("strips", "smaller levels, made once") in asked
    assert "2500 cells: pyramid" in printed
