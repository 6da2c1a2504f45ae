"""Whole processes, measured, and the machine that they ran on."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """What a process took from start to end, its peak memory, and what it said of itself in its last line."""

    wall_s: float
    peak_bytes: int
    said: dict[str, Any]


def run(command: Sequence[str | Path], limit_bytes: int = 0) -> Ran:
    """Run a command whose last line of output is JSON, or none.

    Parameters
    ----------
    limit_bytes
        Most memory that it may take; 0 for no limit.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; its messages are on standard error.
    """
    paths = [str(ROOT / "scripts"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.json"
        launch = [sys.executable, "-S", Path(__file__).with_name("launch.py"), report, limit_bytes, *command]
        done = subprocess.run(list(map(str, launch)), stdout=subprocess.PIPE, text=True, env=environment, check=True)
        facts = json.loads(report.read_text())
    if facts["status"]:
        raise subprocess.CalledProcessError(facts["status"], list(map(str, command)))
    lines = done.stdout.strip().splitlines()
    said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Ran(facts["wall_s"], facts["peak_bytes"], said)


def infer(image: Path, output: Path, *options: str | Path) -> Ran:
    """Run `cohortseg infer`; it says what its metadata.json holds."""
    command = [sys.executable, "-m", "cohortseg", "infer", "--image-path", image, "--output-dir", output]
    ran = run([*command, "--device", "cpu", *options])
    return Ran(ran.wall_s, ran.peak_bytes, json.loads((output / "metadata.json").read_text()))


def memory_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine() -> str:
    """Return the processor, its cores and what it computes in, the memory and the versions."""
    import openvino

    core = openvino.Core()
    can = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "openvino", "numpy", "numba"))
    return (
        f"{core.get_property('CPU', 'FULL_DEVICE_NAME')}, {n_cores()} cores, {'bf16' if 'BF16' in can else 'no bf16'}, "
        f"{memory_bytes() / 2**30:.0f} GB, Python {platform.python_version()}, {packages}"
    )
