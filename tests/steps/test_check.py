"""Step check: the verdicts of summary.tsv, as a script gates on them."""

import subprocess
import sys
from pathlib import Path

import pytest

from cohortseg.errors import MissingFileError, TableError
from cohortseg.steps.check import check_results


def results(folder: Path, **verdicts: str) -> Path:
    (folder / "cohort").mkdir()
    rows = [f"{name}\t{'blurred' if verdict == 'look' else ''}\t{verdict}" for name, verdict in verdicts.items()]
    (folder / "cohort" / "summary.tsv").write_text("\n".join(["sample\twarnings\tverdict", *rows]) + "\n")
    return folder


@pytest.mark.parametrize(
    ("verdicts", "passes", "passes_strictly"),
    [
        ({"a": "ok", "b": "ok"}, True, True),
        ({"a": "ok", "b": "look"}, True, False),
        ({"a": "ok", "b": "failed"}, False, False),
        ({"a": "missing", "b": "look"}, False, False),
    ],
)
def test_only_what_is_done_passes_and_strictly_what_needs_no_look(
    verdicts: dict[str, str], passes: bool, passes_strictly: bool, tmp_path: Path
) -> None:
    checked = check_results(results(tmp_path, **verdicts))
    assert (checked.passes(strict=False), checked.passes(strict=True)) == (passes, passes_strictly)


def test_the_worst_come_first_with_their_reason_and_the_status_says_it(tmp_path: Path) -> None:
    folder = results(tmp_path, a="ok", b="look", c="failed")
    done = subprocess.run([sys.executable, "-m", "cohortseg", "check", str(folder)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["failed\tc", "look\tb\tblurred", "1 ok, 1 look, 0 missing, 1 failed"]


def test_results_without_verdicts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MissingFileError, match=r"summary\.tsv does not exist; expected the folder of a workflow.*snakemake report"
    ):
        check_results(tmp_path)
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "summary.tsv").write_text("sample\twarnings\na\t\n")
    with pytest.raises(TableError, match=r"summary\.tsv lacks the column verdict"):
        check_results(tmp_path)
