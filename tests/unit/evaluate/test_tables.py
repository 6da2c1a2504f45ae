"""Tables of evaluated images and their summary."""

import numpy as np
import pandas as pd
import pytest

from cohortseg.evaluate import Counts
from cohortseg.evaluate.tables import ALL, Scored, summarise_scores, tabulate

NAN = float("nan")


def image(name: str, model: str, modality: str, tp: int, n_true: int, *, seconds: float = 2.0) -> Scored:
    """Return an image of half a megapixel with this many true cells, as many predicted, and so many matches."""
    counts = Counts((tp,) * 5 + (0,) * 5, n_true, n_true, 0.8 * tp, 100 * n_true, 100 * n_true, 80 * tp, 1, 0, 0, 0, 0)
    return Scored(name, model, modality, counts, seconds, 0.5)


IMAGES = [
    image("a", "first", "fluorescence", 8, 8),
    image("b", "first", "fluorescence", 0, 2),
    image("c", "first", "histology", 10, 30),
    image("a", "second", "fluorescence", 4, 8),
]


def test_each_image_and_model_is_a_row() -> None:
    table = tabulate(IMAGES)
    assert list(zip(table["sample"], table["model"], strict=True)) == [
        ("a", "first"), ("b", "first"), ("c", "first"), ("a", "second"),
    ]  # fmt: skip
    assert table["ap_50"].tolist() == pytest.approx([1, 0, 0.2, 1 / 3])
    assert table["ap_95"].tolist() == [0] * 4
    assert table["seconds_per_mpx"].tolist() == [4.0] * 4
    assert table["f1_neurips_empty_is_1"].tolist() == [1] * 4


def test_the_summary_has_means_medians_and_all_images_as_one_by_modality() -> None:
    summary = summarise_scores(IMAGES).set_index(["model", "modality", "statistic"])
    of_all = summary.loc[("first", ALL)]
    assert of_all["images"].tolist() == [3, 3, 3]
    assert of_all["ap_50"].to_dict() == pytest.approx({"mean": 0.4, "median": 0.2, "pooled": 18 / (40 + 40 - 18)})
    assert of_all["n_true"].to_dict() == pytest.approx({"mean": 40 / 3, "median": 8, "pooled": 40})
    assert of_all.loc["pooled", ["splits", "seconds", "mpx", "seconds_per_mpx"]].tolist() == [3, 6, 1.5, 4]
    assert summary.loc[("first", "histology", "mean"), "ap_50"] == pytest.approx(0.2)
    assert {key[1] for key in summary.index if key[0] == "second"} == {ALL}  # of one modality, all are that


def test_what_is_not_known_is_left_out_of_means() -> None:
    summary = summarise_scores(IMAGES[:2]).set_index("statistic")
    assert np.isnan(tabulate(IMAGES)["mean_matched_iou"][1])
    assert summary.loc["mean", "mean_matched_iou"] == pytest.approx(0.8)
    slow = summarise_scores([image("a", "m", "x", 1, 1, seconds=NAN)]).set_index("statistic")
    assert slow["seconds_per_mpx"].isna().all()


def test_no_images_are_tables_without_rows() -> None:
    assert tabulate([]).empty
    assert summarise_scores([]).empty
    assert isinstance(summarise_scores([]), pd.DataFrame)
