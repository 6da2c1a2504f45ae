"""What code made a result: the version, and the commit where it is known."""

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from cohortseg import __version__

_ROOT = Path(__file__).resolve().parents[3]
_OF_RESULTS = ("scripts", "workflow")
"""What decides the results, apart from the config."""


@cache
def code_facts(root: Path = _ROOT) -> dict[str, Any]:
    """Return version, commit and whether the code was modified since; once a process.

    The commit is that of the git repository the code lies in; else the one that the environment variable
    COHORTSEG_COMMIT names, as containers do; else the one that pip noted (`pip install git+...`). It is None where
    nothing tells it, and `modified` is then None too.

    Parameters
    ----------
    root
        The folder above `scripts`.
    """
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if commit is not None:
        changed = _git(root, "status", "--porcelain", "--", *_OF_RESULTS)
        return {"version": __version__, "commit": commit, "modified": None if changed is None else bool(changed)}
    noted = os.environ.get("COHORTSEG_COMMIT") or _noted_by_pip()
    return {"version": __version__, "commit": noted, "modified": None if noted is None else False}


def describe_code(facts: Mapping[str, Any]) -> str:
    """Return what `code_facts` found, for people."""
    commit = facts["commit"]
    where = "commit unknown" if commit is None else f"commit {commit[:12]}{', modified' if facts['modified'] else ''}"
    return f"cohortseg {facts['version']} ({where})"


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git prints; None where there is no git, or it will not read the repository."""
    try:
        # It takes no lock, which jobs on a read-only or shared checkout could not have.
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _noted_by_pip() -> str | None:
    try:
        noted = distribution("cohortseg").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    commit = json.loads(noted or "{}").get("vcs_info", {}).get("commit_id")
    return None if commit is None else str(commit)
