"""The commands `cohortseg evaluate` and `cohortseg flags`: how good cells are, against ground truth and by eye."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    truth: Annotated[
        Path, typer.Argument(help="Ground truth: a label image, a folder of results, or a folder of these.")
    ],
    predicted: Annotated[
        Path,
        typer.Argument(
            help="Predicted cells: a label image, polygons.parquet, or a folder of results; "
            "or a folder of these, with the names of the ground truth."
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Table of all scores to write (TSV).")] = None,
    flags: Annotated[
        Path | None,
        typer.Option(help="flags.tsv of the ground truth: cells flagged there, but for good ones, are left out."),
    ] = None,
) -> None:
    """Score predicted cells against ground truth: AP, F1, precision, recall, Dice, splits and merges."""
    from cohortseg.steps.evaluate_folders import (
        describe,
        evaluate_pair,
        find_pairs,
        leave_out_faulty,
        write_table,
    )

    pairs = find_pairs(truth, predicted)
    if flags is not None:
        pairs = leave_out_faulty(pairs, flags)
    images = [evaluate_pair(pair) for pair in pairs]
    print(describe(images))
    if flags is not None:
        n_faulty = sum(pair.faulty.cell_ids.size for pair in pairs)
        print(f"left out: {n_faulty} true cells that are flagged, and what was found of them")
    if output is not None:
        write_table(output, images)


def flags(results: Annotated[Path, typer.Argument(help="Folder of results whose cells were flagged.")]) -> None:
    """Print how many cells were flagged, by sample and kind, and what share is faulty (TSV)."""
    from cohortseg.steps.flagged import tabulate_flags

    print(tabulate_flags(results).to_csv(sep="\t", index=False, lineterminator="\n"), end="")
