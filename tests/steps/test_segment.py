"""Step segment: an image file in, polygons.parquet and metadata.json out."""

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import tifffile

import cohortseg
from cohortseg.arrays import Box
from cohortseg.errors import ChannelError, CohortsegError, ImageError
from cohortseg.networks import Network, use_threads
from cohortseg.settings import SegmentSettings, Settings
from cohortseg.shapes import rasterise_into
from cohortseg.steps import segment
from cohortseg.steps.provenance import code_facts
from cohortseg.steps.segment import segment_file, warn_of_unused
from cohortseg.stores import segment_cache, tiff_planes
from cohortseg.stores.images import open_image
from cohortseg.stores.source import PageSelection


def run(image: Path, folder: Path, network: Network, settings: Settings, **pipeline: float) -> Path:
    """Segment an image into a folder and return its polygons."""
    changed = settings.segment_settings().model_copy(update={"pipeline": settings.pipeline.model_copy(update=pipeline)})
    polygons = folder / "polygons.parquet"
    segment_file(
        image,
        polygons,
        folder / "metadata.json",
        lambda _: network,
        changed,
        sample="a",
        z_index=None,
        on_progress=lambda _: None,
    )
    return polygons


def test_geopandas_opens_the_polygons_with_the_promised_columns(sample: Any) -> None:
    table = geopandas.read_parquet(sample.polygons)
    expected = {
        "cell_id": "int64",
        "geometry": "geometry",
        "area_px": "int64",
        "centroid_x": "float64",
        "centroid_y": "float64",
        "score": "float32",
        "flow_error": "float32",
        "touches_edge": "bool",
    }
    dtypes = {name: str(dtype) for name, dtype in table.drop(columns="bbox", errors="ignore").dtypes.items()}
    assert dtypes == expected
    assert table.crs is None
    assert len(table) > 10
    assert list(table["cell_id"]) == list(range(1, len(table) + 1))
    assert set(table.geometry.geom_type) == {"Polygon"}
    assert shapely.is_valid(np.asarray(table.geometry)).all()
    corners = shapely.get_coordinates(np.asarray(table.geometry))
    assert (corners == np.round(corners)).all()
    assert table["score"].between(0.5, 1).all()
    assert (table["flow_error"] <= np.float32(0.4)).all()


def test_no_two_polygons_overlap_and_areas_are_pixels(sample: Any) -> None:
    table = geopandas.read_parquet(sample.polygons)
    shapes, ids = np.asarray(table.geometry), table["cell_id"].to_numpy()
    labels, overlapped_px = rasterise_into(shapes, ids, Box(0, 0, *sample.pixels.shape))
    assert overlapped_px == 0
    np.testing.assert_array_equal(np.bincount(labels.ravel(), minlength=len(table) + 1)[1:], table["area_px"])
    y, x = np.nonzero(labels == 1)
    assert table[["centroid_y", "centroid_x"]].iloc[0].to_list() == pytest.approx([y.mean() + 0.5, x.mean() + 0.5])
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    assert set(table.loc[table["touches_edge"], "cell_id"]) == set(rim[rim > 0])


def test_metadata_states_everything_that_was_done(sample: Any, network: Network, cpu_settings: Settings) -> None:
    facts = json.loads(sample.metadata.read_text())
    assert facts["sample"] == "field"
    assert facts["z_index"] == 3
    assert facts["image"] == str(sample.image)
    assert facts["shape"] == facts["mask_shape"] == list(sample.pixels.shape)
    assert facts["scale"] == pytest.approx(network.diameter_px / 20.0)
    assert facts["diameter"] == {"px": 20.0, "origin": "given", "n_cells": 0}
    assert facts["channels"] == ["DAPI"]
    assert facts["channel_indices"] == [0]
    assert facts["image_channels"] == ["DAPI", "CD45"]
    assert facts["page"] == 0
    assert facts["pixel_size_um"] == pytest.approx(0.5)
    assert facts["model"] == {
        "name": "nuclei-mini",
        "path": None,
        "size_model_path": None,
        "sha256": network.sha256,
    }
    effective = cpu_settings.segment_settings().resolved("fluorescence")
    assert facts["settings"] == effective.model_dump(mode="json")
    assert (facts["modality"], facts["invert"], facts["modality_choice"]["origin"]) == ("fluorescence", False, "auto")
    assert 0.8 < facts["modality_choice"]["confidence"] <= 1
    assert facts["modality_choice"]["features"]["name"] == 1
    lower, upper = (np.percentile(sample.pixels, percentile) for percentile in (1, 99))
    assert facts["normalisation"] == {"lower": [pytest.approx(lower)], "upper": [pytest.approx(upper)]}
    assert (facts["device"], facts["backend"], facts["precision"]) == ("cpu", network.backend, network.precision)
    assert facts["seam_audit"]["findings"] == []
    assert facts["versions"]["cohortseg"] == cohortseg.__version__
    assert facts["versions"]["torch"] == version("torch")
    assert facts["code"] == code_facts()
    size, sha256 = sample.image.stat().st_size, hashlib.sha256(sample.image.read_bytes()).hexdigest()
    assert facts["image_checksum"] == {"size_bytes": size, "sha256": sha256, "sampled_sha256": None}
    assert facts["counts"]["cells"] == len(geopandas.read_parquet(sample.polygons))
    assert facts["counts"]["tiles"] > 1
    stages = {"normalise", "diameter", "read", "wait_for_tiles", "forward", "blend", "postprocess", "wait_for_windows"}
    stages |= {"trace", "write", "total", "modality"}
    assert set(facts["seconds"]) == set(facts["peak_memory_bytes"]) == stages
    assert max(facts["seconds"].values()) > 0


@pytest.mark.parametrize(("n_threads", "n_workers"), [(1, 1), (2, 2), (3, 1)])
def test_the_same_bytes_come_whatever_the_workers_and_threads(
    sample: Any, network: Network, cpu_settings: Settings, tmp_path: Path, n_threads: int, n_workers: int
) -> None:
    hands = {
        "n_postprocess_processes": n_workers,
        "n_merge_tile_processes": n_workers,
        "postprocess_queue_size": n_workers,
    }
    use_threads(n_threads)
    try:
        polygons = run(sample.image, tmp_path, network, cpu_settings, **hands)
    finally:
        use_threads(1)
    assert polygons.read_bytes() == sample.polygons.read_bytes()


def test_an_image_without_cells_is_a_success_with_no_rows(
    network: Network, cpu_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = tmp_path / "empty.tif"
    tifffile.imwrite(image, np.full((40, 300), 7, np.uint16))
    settings = cpu_settings.model_copy(update={"channels": None})
    table = geopandas.read_parquet(run(image, tmp_path, network, settings))
    assert len(table) == 0
    assert str(table["cell_id"].dtype) == "int64"
    counts = json.loads((tmp_path / "metadata.json").read_text())["counts"]
    assert counts["cells"] == 0
    assert counts["tiles_skipped"] == counts["tiles"] > 1
    assert "a: no cells were found" in caplog.text


@pytest.mark.parametrize("shape", [(1, 90), (90, 1), (1, 1)])
@pytest.mark.parametrize("diameter", [20.0, None])
def test_images_a_pixel_wide_are_segmented(
    network: Network, cpu_settings: Settings, tmp_path: Path, shape: tuple[int, int], diameter: float | None
) -> None:
    image = tmp_path / "narrow.tif"
    tifffile.imwrite(image, np.random.default_rng(0).integers(0, 999, shape, np.uint16))
    settings = cpu_settings.model_copy(update={"channels": None, "diameter": diameter})
    assert geopandas.read_parquet(run(image, tmp_path, network, settings)).geometry.is_valid.all()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (lambda image: image.read_bytes()[: image.stat().st_size // 2], ImageError, "bad.tif"),
        (lambda _: b"sample\timage\n", ImageError, "bad.tif is not a TIFF file"),
        (lambda _: b"", ImageError, r"bad.tif is empty \(0 bytes\)"),
    ],
    ids=["truncated", "text", "empty"],
)
def test_a_bad_image_leaves_nothing_under_a_final_name(
    sample: Any,
    network: Network,
    cpu_settings: Settings,
    tmp_path: Path,
    content: Callable[[Path], bytes],
    error: type[CohortsegError],
    message: str,
) -> None:
    image = tmp_path / "bad.tif"
    image.write_bytes(content(sample.image))
    with pytest.raises(error, match=message):
        run(image, tmp_path / "out", network, cpu_settings)
    assert not list(tmp_path.glob("out/*"))


def test_a_fault_in_the_middle_leaves_nothing_either(
    sample: Any, network: Network, cpu_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_early(*arguments: Any) -> Any:
        yield next(stream(*arguments))
        raise ImageError("strip 7 of image.tif is damaged", "whole strips were expected", "Copy the image again.")

    stream = segment.stream_cells
    monkeypatch.setattr(segment, "stream_cells", stop_early)
    with pytest.raises(ImageError, match="strip 7"):
        run(sample.image, tmp_path / "out", network, cpu_settings)
    assert not list(tmp_path.glob("out/*"))


def test_a_missing_channel_is_named_with_those_there_are(
    sample: Any, network: Network, cpu_settings: Settings, tmp_path: Path
) -> None:
    settings = cpu_settings.model_copy(update={"channels": ("CD8",)})
    with pytest.raises(ChannelError, match=r"channel 'CD8' is not in image.ome.tif; it has: DAPI, CD45\. Set channels"):
        run(sample.image, tmp_path, network, settings)


def test_the_job_writes_its_outputs_and_a_log(
    sample: Any, job: Callable[..., Any], cpu_settings: Settings, tmp_path: Path
) -> None:
    snakemake = job(
        "segment",
        input={"image": sample.image},
        output={"polygons": "polygons.parquet", "metadata": "metadata.json"},
        sample="field",
        z_index=3,
        settings=cpu_settings.segment_settings().model_dump(mode="json"),
    )
    segment.main(snakemake)
    assert Path(snakemake.output.polygons).read_bytes() == sample.polygons.read_bytes()
    log = (tmp_path / "logs" / "segment.log").read_text()
    assert "field: 150 x 190 px, channels DAPI, diameter 20.0 px (given)" in log


def test_a_failed_job_says_why_in_one_line_and_a_good_one_clears_it(
    sample: Any, job: Callable[..., Any], cpu_settings: Settings, tmp_path: Path
) -> None:
    image = tmp_path / "bad.tif"
    image.write_text("not an image")
    snakemake = job(
        "segment",
        input={"image": image},
        output={"polygons": "polygons.parquet", "metadata": "metadata.json"},
        sample="field",
        z_index=None,
        settings=cpu_settings.segment_settings().model_dump(mode="json"),
    )
    with pytest.raises(SystemExit) as ended:
        segment.main(snakemake)
    assert ended.value.code == 2
    folder = tmp_path / "results" / "field"
    assert [path.name for path in folder.iterdir()] == ["failure.segment.json"]
    failure = json.loads((folder / "failure.segment.json").read_text())
    assert failure["rule"] == "segment"
    assert failure["error"] == "ImageError"
    assert failure["found"].startswith("bad.tif is not a TIFF file")
    assert "Traceback" not in (tmp_path / "logs" / "segment.log").read_text()
    shutil.copy(sample.image, image)
    segment.main(snakemake)
    assert sorted(path.name for path in folder.iterdir()) == ["metadata.json", "polygons.parquet"]


@pytest.mark.parametrize(("plane", "told"), [(None, True), (0, False), (2, False)])
def test_a_file_of_several_planes_of_which_none_was_chosen_is_told(
    plane: int | None, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((3, 8, 9), np.uint8), metadata={"axes": "ZYX"}, ome=True)
    settings = SegmentSettings(plane=plane)
    with open_image(tmp_path / "deep.tif", PageSelection.of(settings)) as source:
        warn_of_unused(source, settings, "deep")
    assert ("deep: the first of 3 planes is segmented" in caplog.text) is told


@pytest.mark.parametrize("scratch_gb", [0.0, 1.0])
def test_modality_percentiles_diameter_and_cells_decode_each_tile_once_with_a_scratch_file(
    scratch_gb: float, tmp_path: Path, sample: Any, network: Network, cpu_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    image, n_bytes = tmp_path / "image.tif", 600 * 600 * 2
    pixels = np.tile(sample.pixels, (4, 4))[:600, :600]
    tifffile.imwrite(image, pixels, tile=(32, 32), compression="zlib", photometric="minisblack")
    # As for an image many times as large: the memory holds but a few tiles.
    monkeypatch.setattr(tiff_planes, "CACHE_BYTES", 10**4)
    monkeypatch.setattr(tiff_planes, "TILES_LIMIT_BYTES", 10**4)
    monkeypatch.setattr(segment_cache, "WITH_SCRATCH_BYTES", 10**4)
    sources = []

    def opened(*arguments: Any) -> Any:
        sources.append(open_image(*arguments))
        return sources[0]

    monkeypatch.setattr(segment, "open_image", opened)
    unknown = cpu_settings.model_copy(update={"diameter": None, "modality": "auto", "channels": None})
    run(image, tmp_path, network, unknown, scratch_gb=scratch_gb)
    decoded = sources[0].decoded_bytes / n_bytes
    assert 1 <= decoded <= 1.2 if scratch_gb else decoded > 2.5
    assert geopandas.read_parquet(tmp_path / "polygons.parquet")["area_px"].size > 100
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif", "polygons.parquet", "metadata.json"}


def test_a_network_is_loaded_once_but_for_what_its_files_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[SegmentSettings] = []
    monkeypatch.setattr(segment.Network, "of", seen.append)
    load = segment.loader()
    given = [
        SegmentSettings(diameter=20.0),
        SegmentSettings(diameter=30.0, invert=True),
        SegmentSettings(diameter_um=9.0),
    ]
    for settings in (*given, SegmentSettings(), SegmentSettings(channels=("DAPI",)), SegmentSettings(model="cyto3")):
        load(settings)
    # Without a diameter a size model comes along.
    assert seen == [given[0], SegmentSettings(), SegmentSettings(model="cyto3")]
