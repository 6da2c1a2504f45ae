"""Paired comparison of models."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from cohortseg.evaluate.pairs import bootstrap_interval, compare_pairs


def test_pairs_are_compared_on_the_images_that_both_have() -> None:
    scores = {
        "old": {"a": 0.5, "b": 0.6, "c": 0.7},
        "new": {"a": 0.7, "b": 0.6, "c": 0.6, "d": 0.1},
        "third": {"a": 0.5},
    }
    rows = [(sample, model, ap) for model, of in scores.items() for sample, ap in of.items()]
    pairs = compare_pairs(pd.DataFrame(rows, columns=["sample", "model", "ap_50"]), "ap_50")
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [
        ("old", "new"), ("old", "third"), ("new", "third"),
    ]  # fmt: skip
    first = pairs.iloc[0]
    assert first["images"] == 3
    assert first["mean_difference"] == pytest.approx(0.1 / 3)
    assert first["low"] <= first["mean_difference"] <= first["high"]
    assert first[["second_better", "equal", "second_worse"]].tolist() == [1, 1, 1]
    assert pairs.iloc[1]["images"] == 1
    assert np.isnan(pairs.iloc[1]["low"])


def test_the_interval_is_that_of_scipys_percentile_bootstrap_and_the_same_each_time() -> None:
    values = np.random.default_rng(0).normal(0.1, 0.3, 40)
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(2))
    found = bootstrap_interval(values)
    assert found == pytest.approx(tuple(expected.confidence_interval), abs=0.006)
    assert bootstrap_interval(values) == found


def test_equal_differences_have_no_width() -> None:
    assert bootstrap_interval(np.full(5, 0.25)) == (0.25, 0.25)


def test_one_model_alone_is_in_no_pair() -> None:
    assert compare_pairs(pd.DataFrame({"sample": ["a"], "model": ["m"], "ap_50": [0.5]}), "ap_50").empty
