"""Step export_cohort: the cells of all samples in one AnnData file."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
import pytest

from cohortseg.errors import MissingFileError
from cohortseg.settings import QuantifySettings
from cohortseg.steps import export_cohort
from cohortseg.steps.quantify import quantify_file


def test_all_samples_are_in_the_order_of_the_sheet(sample: Any, tmp_path: Path, job: Callable[..., Any]) -> None:
    results = tmp_path / "results"
    for name in ("field", "b"):
        (results / name).mkdir(parents=True)
        shutil.copy(sample.polygons, results / name)
        shutil.copy(sample.metadata, results / name)
        quantify_file(
            sample.image,
            sample.polygons,
            sample.metadata,
            cells=results / name / "cells.parquet",
            settings=QuantifySettings(channels=("DAPI",) if name == "b" else None),
        )
    snakemake = job(
        "export_cohort", input={}, output={"cells": "cells.h5ad"}, results=str(results), samples=["field", "b"]
    )
    export_cohort.main(snakemake)
    table = anndata.io.read_h5ad(snakemake.output.cells)
    n_cells = len(pd.read_parquet(results / "b" / "cells.parquet"))
    assert table.obs["sample"].tolist() == ["field"] * n_cells + ["b"] * n_cells
    assert list(table.obs["sample"].cat.categories) == ["field", "b"]
    assert table.obs_names[n_cells] == "b:1"
    assert pd.isna(table[table.obs["sample"] == "b", "CD45"].X).all()


def test_a_sample_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="lost"):
        export_cohort.export_cohort(tmp_path / "cells.h5ad", tmp_path, ["lost"])
