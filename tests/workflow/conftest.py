"""The tiny cohort, run once by a real Snakemake; every test works on its own copy."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "cohort"


@dataclass(frozen=True)
class Cohort:
    """A cohort's folder, and Snakemake to run there."""

    folder: Path

    def snakemake(self, *arguments: str, profile: str = "local") -> subprocess.CompletedProcess[str]:
        """Run the workflow with config.yaml, on two cores where the profile is of one machine."""
        cores = ["--cores", "2"] if profile == "local" else []
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
        command += ["--workflow-profile", str(ROOT / "profiles" / profile), "--configfile", "config.yaml", "--nocolor"]
        return subprocess.run(
            [*command, *cores, *arguments], cwd=self.folder, capture_output=True, text=True, check=False, timeout=900
        )

    def run(self, *arguments: str) -> str:
        """Run the workflow, which has to succeed, and return what it printed."""
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *arguments: str, profile: str = "local") -> set[tuple[str, str]]:
        """Return (rule, first wildcard) of the jobs that a run would do; the target `all` apart.

        The first wildcard is the sample, the stack, or the compared model; of a rule without wildcards, nothing.
        """
        done = self.snakemake("--dry-run", *arguments, profile=profile)
        assert done.returncode == 0, done.stdout + done.stderr
        jobs = re.findall(r"^\s*(?:local)?rule (\w+):$(.*?)^\s*resources:", done.stdout + done.stderr, re.M | re.S)
        wildcards = [(rule, re.search(r"wildcards: \w+=([^\s,]+)", text)) for rule, text in jobs]
        return {(rule, found[1] if found else "") for rule, found in wildcards if rule != "all"}


def copied(source: Path, target: Path) -> Cohort:
    """Return a copy of a cohort, finished or not, with all its times as they are."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("locks"))
    return Cohort(target)


@pytest.fixture
def fresh(tmp_path: Path) -> Cohort:
    """Return the tiny cohort before its first run."""
    return copied(TINY, tmp_path / "cohort")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Return the tiny cohort after its first run; not to be changed."""
    cohort = copied(TINY, tmp_path_factory.mktemp("finished") / "cohort")
    cohort.run()
    return cohort


@pytest.fixture
def finished(finished_once: Cohort, tmp_path: Path) -> Cohort:
    """Return the test's own copy of the tiny cohort after its first run."""
    return copied(finished_once.folder, tmp_path / "cohort")


@pytest.fixture(scope="session")
def copy_cohort() -> Callable[[Path], Cohort]:
    """Return a function that copies the tiny cohort before its first run to a folder."""
    return lambda target: copied(TINY, target)
