"""What code made a result is told as far as it is known, and no farther."""

import json
import subprocess
from pathlib import Path

import pytest

from cohortseg import __version__
from cohortseg.steps import provenance
from cohortseg.steps.provenance import code_facts, describe_code


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test ask anew, in an environment without a commit."""
    code_facts.cache_clear()
    monkeypatch.delenv("COHORTSEG_COMMIT", raising=False)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_and_whether_the_code_differs_from_it(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "a.py").write_text("1\n")
    (tmp_path / "notes.txt").write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "notes.txt").write_text("2\n")  # decides nothing
    facts = code_facts(tmp_path)
    assert facts == {"version": __version__, "commit": commit, "modified": False}
    assert describe_code(facts) == f"cohortseg {__version__} (commit {commit[:12]})"
    code_facts.cache_clear()
    (tmp_path / "scripts" / "new.py").write_text("2\n")
    assert code_facts(tmp_path)["modified"] is True
    assert describe_code(code_facts(tmp_path)).endswith(", modified)")


def test_a_container_names_the_commit_that_it_was_built_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHORTSEG_COMMIT", "abc")
    assert code_facts(tmp_path) == {"version": __version__, "commit": "abc", "modified": False}


@pytest.mark.parametrize(("noted", "commit"), [({"vcs_info": {"commit_id": "abc"}}, "abc"), ({"dir_info": {}}, None)])
def test_pip_notes_the_commit_that_it_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: dict[str, object], commit: str | None
) -> None:
    class Installed:
        def read_text(self, name: str) -> str:
            assert name == "direct_url.json"
            return json.dumps(noted)

    monkeypatch.setattr(provenance, "distribution", lambda name: Installed())
    assert code_facts(tmp_path)["commit"] == commit


def test_what_is_not_known_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()  # broken, or somebody else's
    monkeypatch.setattr(provenance, "_noted_by_pip", lambda: None)
    facts = code_facts(tmp_path)
    assert facts == {"version": __version__, "commit": None, "modified": None}
    assert describe_code(facts) == f"cohortseg {__version__} (commit unknown)"
