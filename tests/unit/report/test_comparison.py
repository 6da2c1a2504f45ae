"""Models side by side, in Markdown."""

from itertools import pairwise
from typing import Any

import pandas as pd

from cohortseg.evaluate.pairs import compare_pairs
from cohortseg.evaluate.tables import Scored, summarise_scores, tabulate
from cohortseg.report import render_comparison


def test_the_page_has_scores_differences_and_models(made: Any) -> None:
    images = [
        Scored("a", "old", "fluorescence", made.counts(5, 10, 10), 4.0, 2.0),
        Scored("b", "old", "histology", made.counts(5, 10, 10), 4.0, 2.0),
        Scored("a", "ne|w", "fluorescence", made.counts(9, 10, 10), 1.0, 2.0),
        Scored("b", "ne|w", "histology", made.counts(8, 10, 10), 1.0, 2.0),
    ]
    pairs = compare_pairs(tabulate(images), "ap_50")
    models = pd.DataFrame({"name": ["old", "ne|w"], "diameter px": [None, 20.0]})
    page = render_comparison(summarise_scores(images), pairs, models, curves="comparison.png")
    lines = page.splitlines()
    assert "(comparison.png)" in page
    whole = lines[lines.index("### All images") :]
    better, worse = whole[4:6]
    assert better.startswith("| ne\\|w | 2 | 0.742 |")
    assert better.endswith("| 20 | +0 | 2 | 4 | 0.50 |")
    assert worse.startswith("| old | 2 | 0.333 |")
    assert "### fluorescence" in lines
    assert any(line.startswith("| old | ne\\|w | 2 | +0.409 | +0.333 to +0.485 | 2 | 0 | 0 |") for line in lines)
    assert "| old | – |" in lines
    # Every row of a table has as many cells as its head.
    for head, rule in pairwise(lines):
        if rule.startswith("| ---"):
            assert head.count(" | ") == rule.count(" | ")
