"""Step segment_part: the cells that one part of an image gives out."""

from pathlib import Path
from typing import Any

import geopandas

from cohortseg.networks import Network
from cohortseg.settings import Settings
from cohortseg.steps.prepare import prepare_file, read_prepared
from cohortseg.steps.segment_part import segment_part
from cohortseg.stores.tables import read_json
from cohortseg.tiling import Part


def test_a_part_gives_a_share_of_the_cells_and_the_sums_of_its_audit(
    tall: Any, network: Network, cpu_settings: Settings, tmp_path: Path
) -> None:
    settings = cpu_settings.segment_settings()
    prepare_file(tall.image, tmp_path / "prepared.json", lambda _: network, settings, sample="a")
    segment_part(
        tall.image,
        tmp_path / "part.parquet",
        tmp_path / "part.json",
        lambda _: network,
        settings,
        read_prepared(tmp_path / "prepared.json"),
        part=Part(0, 2),
        on_progress=lambda _: None,
    )
    table, whole = geopandas.read_parquet(tmp_path / "part.parquet"), geopandas.read_parquet(tall.polygons)
    assert 0 < len(table) < len(whole)
    assert list(table["cell_id"]) == list(range(1, len(table) + 1))
    assert table.geometry.equals(whole.geometry[: len(table)])
    facts = read_json(tmp_path / "part.json")
    assert facts["counts"]["cells"] == len(table)
    assert "seam_audit_state" in facts
