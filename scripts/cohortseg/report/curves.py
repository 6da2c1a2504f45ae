"""Average precision over IoU thresholds, a line for each model and a panel for each kind of image."""

import io
import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohortseg.evaluate import THRESHOLDS
from cohortseg.evaluate.tables import AP_COLUMNS
from cohortseg.report.figures import INK, MUTED, as_svg, quieten

# Okabe and Ito's colours, which the colour-blind can tell apart, without black and yellow, which do not show on both
# white and dark. A marker and a style of line go with each, so that colour is not needed.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = ("-", "--", "-.", ":")
_PANEL_INCHES = (3.3, 2.7)
_LEGEND_INCHES = 2.3
_PANELS_A_ROW = 3
_DPI = 150


def curves_svg(summary: pd.DataFrame) -> str:
    """Return the curves as an SVG element in the page's colours; `summary` is that of `evaluate.summarise_scores`."""
    return as_svg(_draw(summary), "average precision")


def curves_png(summary: pd.DataFrame) -> bytes:
    """Return the curves as the bytes of a PNG file; `summary` is that of `evaluate.summarise_scores`."""
    file = io.BytesIO()
    figure = _draw(summary)
    figure.patch.set(alpha=1, facecolor="white")
    figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()


def _draw(summary: pd.DataFrame) -> Figure:
    """Return the figure: means over images, models in falling order of AP@0.5 over all images."""
    means = summary[summary["statistic"] == "mean"]
    modalities = list(dict.fromkeys(means["modality"]))
    whole = means[means["modality"] == modalities[0]].sort_values("ap_50", ascending=False, kind="stable")
    n_columns = 2 if len(modalities) == 4 else min(len(modalities), _PANELS_A_ROW)
    n_rows = math.ceil(len(modalities) / n_columns)
    size = _PANEL_INCHES[0] * n_columns + _LEGEND_INCHES, _PANEL_INCHES[1] * n_rows
    figure = Figure(figsize=size, layout="constrained")
    panels = np.ravel(figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False))
    for place, (panel, modality) in enumerate(zip(panels, modalities, strict=False)):
        _draw_panel(panel, modality, means[means["modality"] == modality], whole["model"].tolist())
        if place % n_columns == 0:
            panel.set_ylabel("average precision, mean")
        if place + n_columns >= len(modalities):  # the lowest of its column
            panel.set_xlabel("IoU threshold")
            panel.tick_params(labelbottom=True)
    for panel in panels[len(modalities) :]:
        panel.set_visible(False)
    names = [f"{model}  {ap:.2f}" for model, ap in zip(whole["model"], whole["ap_50"], strict=True)]
    figure.legend(
        panels[0].get_lines(),
        names,
        loc="outside right upper",
        title="model, AP@0.5" if len(modalities) == 1 else f"model, AP@0.5 of {modalities[0]}",
        frameon=False,
        labelcolor=INK,
        fontsize=8,
        title_fontproperties={"size": 8},
        alignment="left",
    ).get_title().set_color(INK)
    return figure


def _draw_panel(axes: Axes, modality: str, means: pd.DataFrame, models: list[str]) -> None:
    """Draw one panel; a model keeps its colour, marker and style where it has no images of this modality."""
    quieten(axes)
    images = sorted(set(means["images"].astype(int)))
    number = "–".join(map(str, images[:1] + images[-1:])) if len(images) > 1 else str(images[0])
    noun = "image" if number == "1" else "images"
    axes.set_title(f"{modality} ({number} {noun})", fontsize=9, color=INK, loc="left", parse_math=False)
    by_model = means.set_index("model")
    for rank, model in enumerate(models):
        known = model in by_model.index
        axes.plot(
            THRESHOLDS if known else (),
            by_model.loc[model, list(AP_COLUMNS)].to_numpy(float) if known else (),
            color=_COLOURS[rank % len(_COLOURS)],
            marker=_MARKERS[rank % len(_MARKERS)],
            linestyle=_STYLES[rank % len(_STYLES)],
            markersize=4,
            linewidth=1.5,
        )
    axes.set_ylim(0, 1.02)
    axes.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9])
    axes.grid(color=MUTED, alpha=0.15, linewidth=0.6)
