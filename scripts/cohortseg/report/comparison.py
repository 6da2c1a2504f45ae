"""Models side by side, as one page of Markdown."""

from collections.abc import Sequence
from itertools import groupby
from urllib.parse import quote

import pandas as pd

from cohortseg.evaluate.pairs import CONFIDENCE, N_RESAMPLES
from cohortseg.evaluate.tables import ALL
from cohortseg.report.scores import EXPLANATION, SCORE_HEADS, UNKNOWN, number, score_rows


def render_comparison(summary: pd.DataFrame, pairs: pd.DataFrame, models: pd.DataFrame, *, curves: str) -> str:
    """Return the comparison as Markdown.

    Parameters
    ----------
    summary
        Of `evaluate.summarise_scores`.
    pairs
        Of `evaluate.compare_pairs`.
    models
        What each model is: one row each, any columns; values that are missing are shown as –.
    curves
        Address of the plot.
    """
    parts = [
        "# Comparison of models",
        f"![Average precision over IoU thresholds, by model]({quote(curves)})",
        "## Scores",
        EXPLANATION,
        *_score_tables(summary),
        "## Differences in AP@0.5",
        f"On the same images, the second model less the first, with the {100 * CONFIDENCE:.0f} % interval of a "
        f"percentile bootstrap over images ({N_RESAMPLES:,} resamples). An interval without 0 speaks for a difference; "
        "with few images it is too narrow, and of many pairs some exclude 0 by chance.",
        _pair_table(pairs),
        "## Models",
        _markdown(list(models.columns), [[_text(value) for value in row] for row in models.itertuples(index=False)]),
    ]
    return "\n\n".join(parts) + "\n"


def _score_tables(summary: pd.DataFrame) -> list[str]:
    """Return a heading and a table for each modality."""
    parts = []
    for modality, group in groupby(score_rows(summary), key=lambda row: row.modality):
        rows = [[_text(row.model), *row.values] for row in group]
        parts += [
            f"### {'All images' if modality == ALL else _text(modality)}",
            _markdown(["model", *SCORE_HEADS], rows),
        ]
    return parts


def _pair_table(pairs: pd.DataFrame) -> str:
    heads = ["first", "second", "images", "mean difference", "interval", "second better", "equal", "second worse"]
    rows = [
        [
            _text(row["first"]),
            _text(row["second"]),
            str(row["images"]),
            number(row["mean_difference"], "{:+.3f}"),
            f"{number(row['low'], '{:+.3f}')} to {number(row['high'], '{:+.3f}')}",
            *(str(row[key]) for key in ("second_better", "equal", "second_worse")),
        ]
        for row in pairs.to_dict("records")
    ]
    return _markdown(heads, rows)


def _text(value: str | float | None) -> str:
    """Return a value as text that does not break a table of Markdown."""
    return UNKNOWN if pd.isna(value) else str(value).replace("|", "\\|").replace("\n", " ")


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
