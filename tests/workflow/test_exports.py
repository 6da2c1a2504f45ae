"""Files for other programs: those that the config asks for, and any other by its name."""

import json
from typing import Any

import anndata
import geopandas
import pytest

SAMPLES = ("z0", "z1", "lone")
FORMATS = ("--config", "export={formats: [geojson, anndata]}")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_formats_of_the_config_are_made_of_every_sample(finished: Any) -> None:
    assert finished.planned(*FORMATS) == {("export", sample) for sample in SAMPLES} | {
        ("export_cohort", ""),
        ("report", ""),
    }
    finished.run(*FORMATS)
    results = finished.folder / "results"
    counts = []
    for sample in SAMPLES:
        made = results / sample / "exports"
        assert {path.name for path in made.iterdir()} == {"cells.geojson", "cells.h5ad"}
        counts.append(anndata.io.read_h5ad(made / "cells.h5ad").n_obs)
        assert len(json.loads((made / "cells.geojson").read_text(encoding="utf-8"))["features"]) == counts[-1]
    cohort = anndata.io.read_h5ad(results / "cohort" / "cells.h5ad")
    assert cohort.obs["sample"].value_counts(sort=False).to_dict() == dict(zip(SAMPLES, counts, strict=True))
    assert finished.planned(*FORMATS) == set()
    (results / "z1" / "cells.parquet").touch()
    again = finished.planned("exports", *FORMATS)
    assert again == {("export", "z1"), ("export_cohort", ""), ("exports", "")}


def test_any_file_can_be_asked_for_by_its_name(finished: Any) -> None:
    assert finished.planned("results/lone/exports/rois.zip") == {("export", "lone")}
    store = "results/lone/exports/spatialdata.zarr"
    assert finished.planned(store) == {("export_spatialdata", "lone")}
    finished.run("results/lone/exports/xenium.geojson")
    outlines = geopandas.read_file(finished.folder / "results/lone/exports/xenium.geojson")
    outlines = outlines.set_crs(None, allow_override=True)  # GDAL takes all GeoJSON for degrees
    polygons = geopandas.read_parquet(finished.folder / "results/lone/polygons.parquet")
    assert outlines.area.sum() == pytest.approx(polygons.area.sum() * 0.5**2)
    refused = finished.snakemake("--dry-run", "results/lone/exports/cells.xml")
    assert refused.returncode
    assert "MissingRuleException" in refused.stdout + refused.stderr


def test_a_batch_makes_the_files_of_its_samples(fresh: Any) -> None:
    planned = fresh.planned("exports", "--config", "batch=3", FORMATS[1])
    assert planned == {("batch", "0000"), ("export_cohort", ""), ("exports", "")}
