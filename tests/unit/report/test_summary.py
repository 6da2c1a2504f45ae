from typing import Any

import numpy as np
import pandas as pd
import pytest

from cohortseg.report import summarise
from cohortseg.settings import QcSettings

QC = QcSettings()


def test_a_finished_sample_is_measured(made: Any) -> None:
    sample = made.ok("a", made.quality(200, 20.0, edge=20), evaluation=made.counts(8, 10, 8))
    row = summarise([sample], QC)[0].iloc[0]
    assert row["n_cells"] == 200
    assert row["cells_per_mpx"] == pytest.approx(200)
    assert row["median_area_px"] == 314
    assert row["median_diameter_px"] == pytest.approx(20, abs=0.02)
    assert row["median_diameter_um"] == pytest.approx(10, abs=0.01)
    assert row["mean_score"] == pytest.approx(0.9)
    assert (row["score_median"], row["flow_error_median"], row["sharpness"]) == pytest.approx((0.9, 0.1, 1.0))
    assert (row["saturated_share"], row["empty_tiles"], row["suspicious_tiles"], row["verdict"]) == (0, 0, 0, "ok")
    assert np.isnan(row["max_shift_px"])
    assert row["edge_share"] == pytest.approx(0.1)
    assert row["ap50"] == pytest.approx(0.8)
    assert row["seconds"] == pytest.approx(4)
    assert row["peak_memory_bytes"] == pytest.approx(5e8)
    assert row["warnings"] == ""


def test_rows_keep_the_order_of_the_samples_and_every_status(made: Any) -> None:
    table = summarise([made.missing("c"), made.failed("a", error="ImageError"), made.ok("b", made.quality(3))], QC)[0]
    assert table["sample"].tolist() == ["c", "a", "b"]
    assert table["status"].tolist() == ["missing", "failed", "ok"]


def test_what_is_not_known_is_missing_rather_than_zero(made: Any) -> None:
    row = summarise([made.failed("a")], QC)[0].iloc[0]
    assert all(pd.isna(row[name]) for name in ("n_cells", "cells_per_mpx", "median_area_px", "ap50", "seconds"))


def test_an_image_without_cells_is_a_success_with_zero_rows_and_a_warning(made: Any) -> None:
    row = summarise([made.ok("a", made.quality(0))], QC)[0].iloc[0]
    assert (row["status"], row["n_cells"], row["warnings"]) == ("ok", 0, "no cells were found")
    assert np.isnan(row["median_area_px"])


def test_a_stated_total_is_not_added_to_its_stages(made: Any) -> None:
    sample = made.ok("a", made.quality(3), metadata={"shape": [10, 10], "seconds": {"read": 1, "total": 7}})
    assert summarise([sample], QC)[0]["seconds"].iat[0] == 7


def test_plain_numbers_for_time_and_memory_are_taken_as_they_are(made: Any) -> None:
    sample = made.ok("a", made.quality(3), metadata={"seconds": 7, "peak_memory_bytes": 9})
    row = summarise([sample], QC)[0].iloc[0]
    assert (row["seconds"], row["peak_memory_bytes"]) == (7, 9)


def test_no_samples_give_an_empty_table_with_all_columns() -> None:
    table = summarise([], QC)[0]
    assert len(table) == 0
    assert table.columns[0] == "sample"
    assert list(table.columns[-2:]) == ["warnings", "verdict"]
