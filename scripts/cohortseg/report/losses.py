"""The loss of a training over its steps."""

import io

import pandas as pd
from matplotlib.figure import Figure

from cohortseg.report.figures import INK, quieten

_SIZE_INCHES = (5.2, 3.0)
_DPI = 150
_COLOUR = "#0072B2"


def loss_png(losses: pd.DataFrame) -> bytes:
    """Return the loss curve as the bytes of a PNG file; `losses` has the columns step and loss."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    quieten(axes)
    axes.plot(losses["step"], losses["loss"], color=_COLOUR, marker="o" if len(losses) < 3 else "", linewidth=1.4)
    last = losses.iloc[-1]
    axes.annotate(
        f"{last['loss']:.3f}", (last["step"], last["loss"]), (0, 6), textcoords="offset points", ha="right", color=INK
    )
    axes.set_xlabel("step")
    axes.set_ylabel("loss, mean since the last point")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    return file.getvalue()
