"""`cohortseg view`: the command of the viewer."""

from pathlib import Path
from typing import Annotated

import typer


def _print_at_once(line: str) -> None:
    print(line, flush=True)


def view(
    results: Annotated[Path, typer.Argument(help="Folder of results: of a workflow, or what `cohortseg infer` wrote.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes any that is free.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open no browser.")] = False,
    remote: Annotated[bool, typer.Option("--remote", help="Fetch images that the results name by a URL.")] = False,
) -> None:
    """Show the images with their cells in a browser, where cells can be flagged; for this computer only."""
    from cohortseg.steps.view import ViewOptions, view_results

    view_results(ViewOptions(results, port, not no_browser, remote), _print_at_once)
