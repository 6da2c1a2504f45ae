import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from cohortseg.errors import ImageError, StorageError
from cohortseg.stores.atomic import atomic_path, remove_leftovers, storage_faults


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    final = tmp_path / "results" / "a.json"
    with atomic_path(final) as temporary:
        temporary.write_text("half")
        assert not final.exists()
        assert temporary.parent == final.parent
        assert temporary.name.startswith(".a.json.tmp-")
        temporary.write_text("whole")
    assert final.read_text() == "whole"
    assert listing(final.parent) == ["a.json"]


def interrupted(work: Callable[..., object], *values: object, error: BaseException | type[BaseException]) -> None:
    work(*values)
    raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_error_the_old_file_stays_and_nothing_else(error: type[BaseException], tmp_path: Path) -> None:
    final = tmp_path / "a.json"
    final.write_text("old")
    with pytest.raises(error), atomic_path(final) as temporary:
        interrupted(temporary.write_text, "new", error=error)
    assert final.read_text() == "old"
    assert listing(tmp_path) == ["a.json"]


def test_an_error_before_anything_is_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), atomic_path(tmp_path / "a.json"):
        raise ValueError("early")
    assert listing(tmp_path) == []


def test_a_folder_replaces_a_folder_whole(tmp_path: Path) -> None:
    final = tmp_path / "mask.zarr"
    for content in ("old", "new"):
        with atomic_path(final) as temporary:
            (temporary / "0").mkdir(parents=True)
            (temporary / "0" / content).write_text(content)
    assert listing(final / "0") == ["new"]
    assert listing(tmp_path) == ["mask.zarr"]


def test_after_an_error_the_old_folder_stays(tmp_path: Path) -> None:
    final = tmp_path / "mask.zarr"
    final.mkdir()
    (final / "old").touch()
    with pytest.raises(ValueError, match="late"), atomic_path(final) as temporary:
        interrupted(temporary.mkdir, error=ValueError("late"))
    assert listing(final) == ["old"]
    assert listing(tmp_path) == ["mask.zarr"]


def test_a_folder_replaces_a_file_and_a_file_a_folder(tmp_path: Path) -> None:
    final = tmp_path / "a"
    final.write_text("file")
    with atomic_path(final) as temporary:
        temporary.mkdir()
    assert final.is_dir()
    with atomic_path(final) as temporary:
        temporary.write_text("file")
    assert final.read_text() == "file"
    assert listing(tmp_path) == ["a"]


def test_when_the_flush_fails_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    final = tmp_path / "a"
    final.write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"), atomic_path(final) as temporary:
        temporary.write_text("new")
    assert final.read_text() == "old"
    assert listing(tmp_path) == ["a"]


def test_two_writers_of_one_path_do_not_meet(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as first, atomic_path(tmp_path / "a") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".mask.zarr.tmp-7-0" / "0").mkdir(parents=True)
    kept = [".mask.zarr.notes", ".other.json.tmp-7-1", "mask.zarr"]
    for name in (*kept, ".mask.zarr.tmp-7-2"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "mask.zarr")
    remove_leftovers(tmp_path / "not_made_yet" / "mask.zarr")
    assert listing(tmp_path) == kept


@pytest.mark.parametrize(
    ("number", "needed"), [(errno.ENOSPC, "room"), (errno.EDQUOT, "room"), (errno.EROFS, "may be written to")]
)
def test_a_disk_that_takes_nothing_more_is_told(number: int, needed: str) -> None:
    with pytest.raises(StorageError, match=rf"^results/a: .*{needed}"), storage_faults(Path("results/a")):
        raise OSError(number, "as the system says it")
    with pytest.raises(StorageError, match=r"^cache/b: "), storage_faults(Path("results/a")):
        raise OSError(number, "as the system says it", "cache/b")


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), ImageError("a", "b", "c"), ValueError("d")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, storage_faults(Path("results/a")):
        raise error
    assert raised.value is error
