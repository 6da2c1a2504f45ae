"""What every job does around its step."""

import errno
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cohortseg.errors import ImageError
from cohortseg.steps import job as steps_job
from cohortseg.steps.job import find_failures, run_job
from cohortseg.steps.provenance import code_facts, describe_code


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """Put pytest's log handlers back, which a job replaces."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level


@pytest.fixture
def quantify(job: Callable[..., Any]) -> Any:
    return job("quantify", input={}, output={"cells": "cells.parquet"})


def fail(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


def test_a_users_error_ends_with_status_2_and_is_kept_for_the_report(quantify: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run_job(quantify, fail(ImageError("a.tif is cut short", "8 strips were expected", "Copy it again.")))
    assert ended.value.code == 2
    log = tmp_path / "logs" / "quantify.log"
    assert json.loads((tmp_path / "results" / "field" / "failure.quantify.json").read_text()) == {
        "rule": "quantify",
        "error": "ImageError",
        "found": "a.tif is cut short",
        "expected": "8 strips were expected",
        "remedy": "Copy it again.",
        "log": str(log),
    }
    made_by, error = log.read_text().splitlines()
    assert describe_code(code_facts()) in made_by
    assert "ERROR a.tif is cut short" in error


def test_any_other_error_ends_with_status_1_and_its_traceback_in_the_log(quantify: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run_job(quantify, fail(ZeroDivisionError("by nothing")))
    assert ended.value.code == 1
    failure = json.loads((tmp_path / "results" / "field" / "failure.quantify.json").read_text())
    assert failure["message"] == "ZeroDivisionError: by nothing"
    assert "Traceback" in (tmp_path / "logs" / "quantify.log").read_text()


def test_a_success_clears_its_own_rules_failure_only(quantify: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "field"
    folder.mkdir(parents=True)
    for rule, stays in (("rasterise", True), ("quantify", False)):
        failure = folder / f"failure.{rule}.json"
        failure.write_text(json.dumps({"rule": rule}))
        run_job(quantify, lambda: None)
        assert failure.exists() == stays


def test_parts_of_a_sample_keep_their_failures_apart(quantify: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "field"
    for part in ("1-of-3", "2-of-3"):
        with pytest.raises(SystemExit):
            run_job(quantify, fail(ZeroDivisionError("by nothing")), part=part)
    run_job(quantify, lambda: None, part="1-of-3")
    assert find_failures(folder, "quantify") == [folder / "failure.quantify.2-of-3.json"]


def test_a_success_removes_the_failures_that_it_supersedes(quantify: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "field"
    with pytest.raises(SystemExit):
        run_job(quantify, fail(ZeroDivisionError("by nothing")), part="2-of-3")
    quantify.rule = "gather"
    run_job(quantify, lambda: None, supersedes=("quantify",))
    assert find_failures(folder, "quantify") == []


def test_a_full_disk_is_told_though_it_takes_no_record_of_it(
    quantify: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(steps_job, "write_json", lambda path, content: fail(full)())
    with pytest.raises(SystemExit) as ended:
        run_job(quantify, fail(full))
    assert ended.value.code == 2
    _, first, second = (tmp_path / "logs" / "quantify.log").read_text().splitlines()
    assert "field: No space left on device; room" in first
    assert "failure.quantify.json" in second


def test_a_job_removes_what_a_killed_one_left(quantify: Any, tmp_path: Path) -> None:
    left = tmp_path / "results" / "field" / ".cells.parquet.tmp-1-0"
    left.parent.mkdir(parents=True)
    left.touch()
    run_job(quantify, lambda: None)
    assert not left.exists()
