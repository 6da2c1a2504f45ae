"""A real SLURM, and cohorts that run on it through `snakemake --profile slurm`; all of it skips without SLURM."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "cohort"
# What tells of times and of memory, and thus differs between two runs of the same.
TIMED = ("benchmarks.tsv", "benchmarks.png", "report.html", "summary.tsv", "evaluation.tsv", "evaluation_summary.tsv")
# Waits that suit a cluster of one node that answers at once; CPUs that there are.
QUICK: dict[str, Any] = {
    "slurm-init-seconds-before-status-checks": 2,
    "latency-wait": 10,
    "set-threads": {"segment": 2, "overlaps": 1, "stitch": 2},
}


def _load_cluster() -> Any:
    # pytest's importlib mode puts no folder of tests on the path
    spec = spec_from_file_location("slurm_cluster", Path(__file__).with_name("cluster.py"))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Start a SLURM of one node, and stop it once the tests are done; skip where it is not installed."""
    slurm = _load_cluster()
    if missing := slurm.missing_programs():
        pytest.skip(f"SLURM is not installed ({', '.join(missing)} not found); {slurm.INSTALL}")
    folder = Path(mkdtemp(prefix="cohortseg-slurm-"))
    cluster = slurm.Cluster(folder)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def config_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a user's folder of configurations, after the one step that config/README.md asks for."""
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"XDG_CONFIG_HOME": str(home)}
    subprocess.run(["make", "profile"], cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60)
    return home


def _heed_interrupts() -> None:
    """Have the program that is started end at Ctrl-C, also where the tests run in the background and ignore that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class SlurmCohort:
    """A cohort in a folder of its own, and Snakemake at the root of the repository that runs it on the cluster."""

    folder: Path
    cluster: Any
    config_home: Path
    changes: dict[str, Any] = field(default_factory=dict)
    """Keys of the profile that are other than in profiles/slurm; of set-resources, by rule and resource."""
    launched: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *arguments: str) -> list[str]:
        """Return the command: the profile as it is, and over it what only this cluster needs."""
        overlay = self.folder / "overlay"
        overlay.mkdir(exist_ok=True)
        (overlay / "config.yaml").write_text(yaml.safe_dump(self._profile_changes()), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("snakemake")), "--profile", "slurm", "--nocolor"]
        command += ["--workflow-profile", str(overlay), "--directory", str(self.folder)]
        return [*command, *arguments, "--configfile", str(self.folder / "config.yaml")]

    def _profile_changes(self) -> dict[str, Any]:
        shipped = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8"))
        changes = QUICK | self.changes
        # A key here replaces the profile's as a whole.
        rules = dict(shipped["set-resources"])
        for rule, resources in changes.get("set-resources", {}).items():
            rules[rule] = rules.get(rule, {}) | resources
        return changes | {"set-resources": rules}

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that Snakemake runs in."""
        return self.cluster.environment | {"XDG_CONFIG_HOME": str(self.config_home)}

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake, in a process group of its own, writing to snakemake.out."""
        with (self.folder / "snakemake.out").open("a", encoding="utf-8") as out:
            running = subprocess.Popen(
                self.command(*arguments), cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=_heed_interrupts,
            )  # fmt: skip
        self.launched.append(running)
        return running

    def dry_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Return what came of a run that only plans."""
        return subprocess.run(
            self.command(*arguments, "--dry-run"), cwd=ROOT, env=self.environment, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip

    def end_all(self) -> None:
        """End every Snakemake that still runs, as after a test that failed."""
        for running in self.launched:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()

    def run(self, *arguments: str) -> None:
        """Run the workflow, which has to succeed."""
        status = self.launch(*arguments).wait(600)
        assert status == 0, self.printed()

    def printed(self) -> str:
        """Return what Snakemake printed so far, the logs of jobs that failed included."""
        return (self.folder / "snakemake.out").read_text(encoding="utf-8")

    def jobs(self) -> list[dict[str, str]]:
        """Return the jobs of SLURM that ran in this folder, the oldest first."""
        return [job for job in self.cluster.jobs() if job["WorkDir"] == str(self.folder)]

    def wait_for_job(
        self, named: str, running: subprocess.Popen[str], *, other_than: Set[str] = frozenset(), timeout_s: float = 120
    ) -> dict[str, str]:
        """Return the first job whose comment has `named` in it, once it runs; by its id other than these."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for job in self.jobs():
                if job["JobId"] in other_than or job["JobState"] != "RUNNING":
                    continue
                if named in job.get("Comment", ""):
                    return job
            assert running.poll() is None, self.printed()
            time.sleep(0.2)
        raise AssertionError(f"no job {named} ran within {timeout_s} s\n{self.printed()}")


@pytest.fixture(scope="session")
def on_slurm(
    cluster: Any, config_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., SlurmCohort]]:
    """Return what copies a cohort, or the tiny one, and gives it to the cluster, with changes of the profile."""
    cohorts: list[SlurmCohort] = []

    def copy(source: Path = TINY, **changes: Any) -> SlurmCohort:
        folder = copied(source, tmp_path_factory.mktemp("slurm"))
        keys = {key.replace("_", "-"): each for key, each in changes.items()}
        cohorts.append(SlurmCohort(folder, cluster, config_home, keys))
        return cohorts[-1]

    yield copy
    for cohort in cohorts:
        cohort.end_all()


@pytest.fixture(scope="session")
def run_locally(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """Return what runs a copy of a cohort with the local profile, on two cores, and gives its results' digests."""

    def run(source: Path, *targets: str) -> dict[str, str]:
        folder = copied(source, tmp_path_factory.mktemp("local"))
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/local", "--cores", "2", *targets]
        command += ["--directory", str(folder), "--configfile", str(folder / "config.yaml"), "--nocolor"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return digests(folder / "results")

    return run


@pytest.fixture(scope="session")
def undisturbed(run_locally: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Return the digests of what the local profile makes of the tiny cohort."""
    return run_locally(TINY)


def copied(source: Path, target: Path) -> Path:
    """Copy a cohort that was not run into a folder below `target`, and return that."""
    return Path(shutil.copytree(source, target / "cohort", ignore=shutil.ignore_patterns(".snakemake", "results")))


@pytest.fixture(scope="session")
def digest() -> Callable[[Path], dict[str, str]]:
    """Return what gives the digests of a folder of results."""
    return digests


def digests(results: Path) -> dict[str, str]:
    """Return the sha256 of each result by its path; of metadata.json without its timings, and no file of timings."""
    files = [path for path in results.rglob("*") if path.is_file() and path.name != ".snakemake_timestamp"]
    found = {str(path.relative_to(results)): _untimed(path) for path in files if path.name not in TIMED}
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(found.items())}


def _untimed(path: Path) -> bytes:
    if path.name != "metadata.json":
        return path.read_bytes()
    facts = json.loads(path.read_text(encoding="utf-8"))
    # The code is the same; its commit is another where somebody commits meanwhile.
    varying = ("seconds", "peak_memory_bytes", "code")
    return json.dumps({key: facts[key] for key in facts if key not in varying}).encode()
