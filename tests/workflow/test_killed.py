"""A job killed at any moment leaves whole files or none, and the next run makes what an undisturbed one makes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
MOMENTS = 20
SEED = 7
TIMED = ("seconds", "peak_memory_bytes")


def content(path: Path) -> dict[str, bytes]:
    """Return what a result holds, by path below it; of metadata.json all but times and memory."""
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    found = {str(file.relative_to(path)): file.read_bytes() for file in files}
    if path.name == "metadata.json":
        facts = json.loads(path.read_text(encoding="utf-8"))
        found["."] = json.dumps({key: facts[key] for key in facts if key not in TIMED}).encode()
    return found


def test_twenty_kills_leave_no_half_file(fresh: Any, tmp_path: Path) -> None:
    reference, results = tmp_path / "reference", tmp_path / "results"
    worker = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(worker), str(fresh.folder), str(reference), str(results), str(SEED), str(MOMENTS)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        killed = 0
        for line in process.stdout:
            status, *present = line.rstrip("\n").split("\t")
            killed += status == "-9"
            for name in present:
                assert content(results / name) == content(reference / name)
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    assert killed > MOMENTS / 4  # the others were done before their moment came
    assert sorted(path.name for path in results.iterdir()) == sorted(path.name for path in reference.iterdir())
    for path in reference.iterdir():
        assert content(results / path.name) == content(path)
