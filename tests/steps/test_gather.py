"""Step gather: the parts of a scattered image, joined, are what one job gives."""

from pathlib import Path
from typing import Any

import pytest

from cohortseg.networks import Network
from cohortseg.settings import SegmentSettings, Settings
from cohortseg.steps.gather import gather
from cohortseg.steps.prepare import prepare_file, read_prepared
from cohortseg.steps.segment_part import segment_part
from cohortseg.stores.tables import read_json
from cohortseg.tiling import Part

# Not the same for parts: they share tiles, and each takes its own time.
OWN = {"seconds", "peak_memory_bytes", "counts", "sample", "scatter"}


def scattered(folder: Path, image: Path, network: Network, settings: SegmentSettings, count: int) -> Path:
    """Segment an image in parts and return the folder with its results."""
    prepare_file(image, folder / "prepared.json", lambda _: network, settings, sample="a")
    names = [f"part-{i + 1}-of-{count}" for i in range(count)]
    for i, name in enumerate(names):
        segment_part(
            image,
            folder / f"{name}.parquet",
            folder / f"{name}.json",
            lambda _: network,
            settings,
            read_prepared(folder / "prepared.json"),
            part=Part(i, count),
            on_progress=lambda _: None,
        )
    gather(
        [folder / f"{name}.parquet" for name in names],
        [read_json(folder / f"{name}.json") for name in names],
        read_json(folder / "prepared.json"),
        folder / "polygons.parquet",
        folder / "metadata.json",
        sample="a",
        z_index=3,
    )
    return folder


@pytest.mark.parametrize("count", [1, 3, 7])
def test_parts_joined_are_the_bytes_of_one_job(
    tall: Any, network: Network, cpu_settings: Settings, tmp_path: Path, count: int
) -> None:
    folder = scattered(tmp_path, tall.image, network, cpu_settings.segment_settings(), count)
    assert (folder / "polygons.parquet").read_bytes() == tall.polygons.read_bytes()
    whole, joined = read_json(tall.metadata), read_json(folder / "metadata.json")
    assert joined["scatter"] == count
    assert joined["counts"]["cells"] == whole["counts"]["cells"]
    assert joined["counts"]["windows"] == whole["counts"]["windows"]
    assert joined["seconds"].keys() == whole["seconds"].keys()
    assert joined["peak_memory_bytes"].keys() == whole["peak_memory_bytes"].keys()
    assert {k: v for k, v in joined.items() if k not in OWN} == {k: v for k, v in whole.items() if k not in OWN}
