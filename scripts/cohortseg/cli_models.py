"""`cohortseg models`: the commands of the networks."""

import json
from typing import Annotated

import typer

models_app = typer.Typer(
    help="Networks that can be named: which are here, fetch them, check them.", no_args_is_help=True
)


def _print_at_once(line: str) -> None:
    print(line, flush=True)


@models_app.command("list")
def list_models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Networks, by name, to tell all of. Default: a table of all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that is known, as JSON.")] = False,
) -> None:
    """List the networks that can be named, and which of them are here."""
    from cohortseg.steps.models import describe, list_networks, table_of

    networks = list_networks(names or [])
    if as_json:
        print(json.dumps(networks, indent=2))
    elif names:
        print("\n".join(line for network in networks for line in describe(network)))
    else:
        print("\n".join(table_of(networks)))


@models_app.command("fetch")
def fetch_models(
    names: Annotated[list[str], typer.Argument(help="Networks, by name.", metavar="NAME...")],
    allow_in_job: Annotated[
        bool, typer.Option("--allow-in-job", help="Download even inside a job of a cluster.")
    ] = False,
) -> None:
    """Download networks and their size models, for machines and jobs without a network connection."""
    from cohortseg.steps.models import fetch_networks

    fetch_networks(names, allow_in_job=allow_in_job, say=_print_at_once)


@models_app.command("verify")
def verify_models(
    names: Annotated[list[str] | None, typer.Argument(help="Networks, by name. Default: all that are here.")] = None,
) -> None:
    """Check that networks load as what they are and have the sha256 that is known; ends with 2 if one is wrong."""
    from cohortseg.steps.models import verify_networks

    verdicts = verify_networks(names or [])
    for verdict in verdicts:
        print(f"{'ok   ' if verdict.good else 'WRONG'} {verdict.name}: {verdict.file}: {verdict.text}")
    if not all(verdict.good for verdict in verdicts):
        raise typer.Exit(2)
