"""The command `cohortseg evaluate`."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    truth: Annotated[Path, typer.Argument(help="Ground truth: a label image, or a folder of them.")],
    predicted: Annotated[
        Path,
        typer.Argument(
            help="Predicted cells: a label image, polygons.parquet, or a folder of results; "
            "or a folder of these, with the names of the ground truth."
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Table of all scores to write (TSV).")] = None,
) -> None:
    """Score predicted cells against ground truth: AP, F1, precision, recall, Dice, splits and merges."""
    from cohortseg.steps.evaluate_folders import describe, evaluate_pair, find_pairs, write_table

    images = [evaluate_pair(pair) for pair in find_pairs(truth, predicted)]
    print(describe(images))
    if output is not None:
        write_table(output, images)
