"""`cohortseg check`: whether a cohort is done and fit to go on with."""

from pathlib import Path
from typing import Annotated

import typer


def check(
    results: Annotated[Path, typer.Argument(help="Folder of a cohort's results.", metavar="RESULTS")],
    strict: Annotated[bool, typer.Option("--strict", help="Images that deserve a look do not pass either.")] = False,
) -> None:
    """Print which images of a cohort failed, are missing or deserve a look; ends with 1 if one failed or is missing."""
    from cohortseg.steps.check import check_results

    checked = check_results(results)
    print("\n".join(checked.lines()))
    if not checked.passes(strict=strict):
        raise typer.Exit(1)
