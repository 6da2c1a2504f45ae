"""Curves of average precision, as PNG and SVG."""

import io
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from cohortseg.evaluate.tables import Scored, summarise_scores
from cohortseg.report import curves_png, curves_svg


@pytest.fixture
def summary(made: Any) -> Any:
    return summarise_scores(
        [
            Scored("a", "cyto3", "fluorescence", made.counts(9, 10, 10), 1.0, 1.0),
            Scored("b", "cyto3", "histology", made.counts(5, 10, 10), 1.0, 1.0),
            Scored("a", "_mini $x$", "fluorescence", made.counts(8, 10, 10), 1.0, 1.0),
        ]
    )


def test_the_svg_names_models_best_first_and_has_a_panel_for_each_modality(summary: Any) -> None:
    svg = curves_svg(summary)
    for text in ("cyto3  0.58", "_mini $x$  0.67", "all (1–2 images)", "fluorescence (1 image)", "histology (1 image)"):
        assert text in svg, text
    assert svg.index("_mini $x$") < svg.index("cyto3")
    assert "IoU threshold" in svg
    assert "average precision" in svg
    assert curves_svg(summary) == svg


def test_the_png_is_opaque_and_the_same_each_time(summary: Any) -> None:
    png = curves_png(summary)
    assert curves_png(summary) == png
    pixels = matplotlib.image.imread(io.BytesIO(png))
    assert pixels[0, 0].tolist() == [1, 1, 1, 1]
    blue = np.abs(pixels[..., :3] - np.array([0, 0x72, 0xB2]) / 255).max(axis=-1) < 0.02
    assert blue.sum() > 100


def test_many_models_still_differ_by_marker_or_style(made: Any) -> None:
    images = [Scored("a", f"m{i}", "x", made.counts(9, 10, 10), 1.0, 1.0) for i in range(9)]
    assert all(f"m{i}  0.82" in curves_svg(summarise_scores(images)) for i in range(9))
