"""Evaluations of a cohort as tables: a row for each image and model, and their means, medians and pooled scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cohortseg.evaluate.counts import THRESHOLDS, Counts

ALL = "all"
"""Stands for the images of every modality."""

AP_COLUMNS = tuple(f"ap_{round(100 * threshold)}" for threshold in THRESHOLDS)
"""Columns of the average precision at each of `THRESHOLDS`, in percent: ap_50 to ap_95."""

_AT_50 = ("f1", "precision", "recall")
_WHOLE = ("ap_mean", "f1_neurips", "f1_neurips_empty_is_1", "dice", "mean_matched_iou", "count_error_relative")
_COUNTS = ("count_error", "splits", "merges", "n_true", "n_predicted")
_SPEED = ("seconds", "mpx", "seconds_per_mpx")
SCORE_COLUMNS = (*AP_COLUMNS, *(f"{name}_50" for name in _AT_50), *_WHOLE, *_COUNTS, *_SPEED)
"""Columns of numbers, in the order of the tables."""


@dataclass(frozen=True)
class Scored:
    """One image, segmented with one model and evaluated.

    Parameters
    ----------
    sample, model, modality
        Its name, the model's, and what kind of image it is.
    counts
        How its cells agree with the true ones.
    seconds, mpx
        Seconds that the segmentation took, NaN if unknown, and millions of pixels of the image.
    """

    sample: str
    model: str
    modality: str
    counts: Counts
    seconds: float
    mpx: float


def tabulate(images: Sequence[Scored]) -> pd.DataFrame:
    """Return one row for each image and model, in the order given: sample, model, modality, `SCORE_COLUMNS`."""
    rows = [
        {"sample": image.sample, "model": image.model, "modality": image.modality} | _numbers(image) for image in images
    ]
    return pd.DataFrame(rows, columns=["sample", "model", "modality", *SCORE_COLUMNS])


def summarise_scores(images: Sequence[Scored]) -> pd.DataFrame:
    """Return three rows for each model and modality: the mean and median over images, and all images as one.

    The rows of `pooled` hold sums of the counts, and the scores that follow from the sums; there, images of many cells
    weigh more. Missing numbers are left out of means and medians. Models come in the order given,
    modalities by name after `ALL`; with one modality there is `ALL` only.

    Columns: model, modality, statistic, images, `SCORE_COLUMNS`.
    """
    rows = []
    for model in dict.fromkeys(image.model for image in images):
        of_model = [image for image in images if image.model == model]
        modalities = sorted({image.modality for image in of_model})
        for modality in [ALL, *(modalities if len(modalities) > 1 else [])]:
            chosen = [image for image in of_model if modality in (ALL, image.modality)]
            rows += _statistics({"model": model, "modality": modality, "images": len(chosen)}, chosen)
    columns = ["model", "modality", "statistic", "images", *SCORE_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


def _statistics(group: dict[str, object], images: Sequence[Scored]) -> list[dict[str, object]]:
    numbers = tabulate(images)[list(SCORE_COLUMNS)].astype(float)
    pooled = Scored(
        "",
        "",
        "",
        Counts.total([image.counts for image in images]),
        sum(image.seconds for image in images),
        sum(image.mpx for image in images),
    )
    return [
        group | {"statistic": "mean"} | {str(name): value for name, value in numbers.mean().items()},
        group | {"statistic": "median"} | {str(name): value for name, value in numbers.median().items()},
        group | {"statistic": "pooled"} | _numbers(pooled),
    ]


def _numbers(image: Scored) -> dict[str, object]:
    scores = image.counts.scores()
    return {
        **dict(zip(AP_COLUMNS, scores["ap"], strict=True)),
        **{f"{name}_50": scores[name][0] for name in _AT_50},
        **{name: scores[name] for name in _WHOLE},
        "count_error": scores["count_error"],
        "splits": image.counts.splits,
        "merges": image.counts.merges,
        "n_true": image.counts.n_true,
        "n_predicted": image.counts.n_predicted,
        "seconds": image.seconds,
        "mpx": image.mpx,
        "seconds_per_mpx": image.seconds / image.mpx,
    }
