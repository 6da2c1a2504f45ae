"""The scores of models as rows of text, for the report and for the comparison."""

import math
from dataclasses import dataclass

import pandas as pd

UNKNOWN = "–"

_MEANS = {
    "images": ("images", "{:,.0f}"),
    "ap_50": ("AP@0.5", "{:.3f}"),
    "ap_75": ("AP@0.75", "{:.3f}"),
    "ap_90": ("AP@0.9", "{:.3f}"),
    "ap_mean": ("mean AP", "{:.3f}"),
    "f1_50": ("F1@0.5", "{:.3f}"),
    "f1_neurips": ("F1 NeurIPS", "{:.3f}"),
    "precision_50": ("precision", "{:.3f}"),
    "recall_50": ("recall", "{:.3f}"),
    "dice": ("Dice", "{:.3f}"),
    "mean_matched_iou": ("IoU of matches", "{:.3f}"),
}
_SUMS = {
    "n_true": ("true cells", "{:,.0f}"),
    "count_error": ("count error", "{:+,.0f}"),
    "splits": ("splits", "{:,.0f}"),
    "merges": ("merges", "{:,.0f}"),
    "seconds_per_mpx": ("s / Mpx", "{:.2f}"),
}
SCORE_HEADS = tuple(head for head, _ in (*_MEANS.values(), *_SUMS.values()))
"""Headings of `ScoreRow.values`."""

EXPLANATION = (
    "Scores are means over images; counts are sums, and s / Mpx is the time of the segmentations alone, for all images "
    "together, as it was in these runs. Precision and recall are at an IoU of 0.5. F1 NeurIPS: at 0.5, without cells "
    "on the border, and 0 where nothing matches, even if there is nothing to find."
)
"""What the columns are, for readers of the tables."""


@dataclass(frozen=True)
class ScoreRow:
    """The scores of one model on the images of one modality, as text."""

    modality: str
    model: str
    values: tuple[str, ...]


def score_rows(summary: pd.DataFrame) -> list[ScoreRow]:
    """Return a row for each modality, in the order given, and model, the highest AP@0.5 first.

    Parameters
    ----------
    summary
        That of `evaluate.summarise_scores`.
    """
    means, sums = (summary[summary["statistic"] == name].to_dict("records") for name in ("mean", "pooled"))
    order = list(dict.fromkeys(summary["modality"]))
    pairs = sorted(
        zip(means, sums, strict=True), key=lambda pair: (order.index(pair[0]["modality"]), -pair[0]["ap_50"])
    )
    return [
        ScoreRow(
            mean["modality"],
            mean["model"],
            (
                *(number(mean[key], form) for key, (_, form) in _MEANS.items()),
                *(number(total[key], form) for key, (_, form) in _SUMS.items()),
            ),
        )
        for mean, total in pairs
    ]


def number(value: float, form: str) -> str:
    """Return a number in a format, or a dash where it is NaN."""
    return UNKNOWN if math.isnan(value) else form.format(value)
