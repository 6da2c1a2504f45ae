"""Which of two models is better on the same images: the mean difference of their scores, and how sure it is."""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N_RESAMPLES = 10_000
"""Resamples of the bootstrap."""

CONFIDENCE = 0.95
"""Share of the resamples that the interval holds."""

_SEED = 1
_DRAWS_AT_ONCE = 1 << 20


def compare_pairs(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return one row for each pair of models: how much the second's score is above the first's, on the same images.

    The interval is the percentile bootstrap over images (Efron and Tibshirani 1993, An Introduction to the Bootstrap,
    chapter 13): of the differences, as many as there are images are drawn with replacement, again and again, always
    from the same seed. It is NaN with a single image, and too narrow with a few.

    Parameters
    ----------
    table
        As `tables.tabulate` makes it; images that only one of the models has are left out.
    score
        Column to compare.

    Returns
    -------
    Columns: `first`, `second` (models), `images`, `mean_difference`, `low` and `high` (limits of the interval that
    holds `CONFIDENCE`), `second_better`, `equal`, `second_worse` (images).
    """
    wide = table.pivot(index="sample", columns="model", values=score)
    rows = []
    for first, second in combinations(dict.fromkeys(table["model"]), 2):
        difference = (wide[second] - wide[first]).dropna().to_numpy(float)
        low, high = bootstrap_interval(difference)
        rows.append(
            {
                "first": first,
                "second": second,
                "images": difference.size,
                "mean_difference": difference.mean() if difference.size else float("nan"),
                "low": low,
                "high": high,
                "second_better": int((difference > 0).sum()),
                "equal": int((difference == 0).sum()),
                "second_worse": int((difference < 0).sum()),
            }
        )
    columns = ["first", "second", "images", "mean_difference", "low", "high", "second_better", "equal", "second_worse"]
    return pd.DataFrame(rows, columns=columns)


def bootstrap_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the limits that hold `CONFIDENCE` of the means of resampled values; NaN with fewer than two values."""
    if values.size < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(_SEED)
    means = []
    # Resamples in parts, so that many images do not take much memory.
    for start in range(0, N_RESAMPLES, part := max(1, _DRAWS_AT_ONCE // values.size)):
        draws = rng.integers(0, values.size, (min(part, N_RESAMPLES - start), values.size))
        means.append(values[draws].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
