"""Whole processes, measured, and the machine that they ran on."""

import json
import os
import platform
import subprocess
import sys
import time
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


def run(command: Sequence[str | Path]) -> Ran:
    """Run a command whose last line of output is JSON, or none.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; its messages are on standard error.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    start = time.perf_counter()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024
    said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Ran(wall_s, usage.ru_maxrss * unit, said)


def infer(image: Path, output: Path, *options: str | Path) -> Ran:
    """Run `cohortseg infer`; it says what its metadata.json holds."""
    command = [sys.executable, "-m", "cohortseg", "infer", "--image-path", image, "--output-dir", output]
    ran = run([*command, "--device", "cpu", *options])
    return Ran(ran.wall_s, ran.peak_bytes, json.loads((output / "metadata.json").read_text()))


def describe_machine() -> str:
    """Return the processor, its cores and what it computes in, the memory and the versions."""
    import openvino

    core = openvino.Core()
    can = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "openvino", "numpy", "numba"))
    return (
        f"{core.get_property('CPU', 'FULL_DEVICE_NAME')}, {len(os.sched_getaffinity(0))} cores, "
        f"{'bf16' if 'BF16' in can else 'no bf16'}, {memory_bytes / 2**30:.0f} GB, "
        f"Python {platform.python_version()}, {packages}"
    )
