"""The benchmarks run: small sizes, no times asserted."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

HERE = Path(__file__).resolve().parent


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(HERE / script), *arguments]
    path = str(HERE.parents[1] / "scripts")

    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scaling_prints_a_row_for_each_side() -> None:
    printed = run("bench.py", "scaling", "--sides", "256", "512")
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| 256") or line.startswith("| 512")]
    assert [int(row[4]) > 0 for row in rows] == [True, True]
    assert "Peak memory at 512 px" in printed


@pytest.mark.parametrize("form", ["tiff", "zarr"])
def test_the_gpus_benchmark_runs_on_a_cpu(form: str) -> None:
    printed = run("gpu.py", "--device", "cpu", "--sides", "300", "--formats", form)
    assert "MFLOP a pixel" in printed
    assert f"| 300 | {form} |" in printed


def test_made_images_are_the_same_however_they_are_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    from made import base_field, mirrored, write_tiff

    base, labels = base_field(60, 12.0)
    whole = mirrored(base, 0, 0, 200, 170)
    np.testing.assert_array_equal(whole[50:130, 20:100], mirrored(base, 50, 20, 80, 80))
    np.testing.assert_array_equal(whole[:60, :60], base)
    np.testing.assert_array_equal(whole[60:120, :60], base[::-1])
    assert labels.max() > 3
    write_tiff(tmp_path / "made.tif", (600, 530), 20.0)
    assert tifffile.imread(tmp_path / "made.tif").shape == (600, 530)
