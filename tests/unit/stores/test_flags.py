"""flags.tsv: what is put is read back, by others too; hostile notes do no harm; broken lines are named."""

import threading
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.errors import MissingFileError, StorageError, TableError
from cohortseg.stores.flags import COLUMNS, NOTE_CHARACTERS, Flags, harmless, read_flags

HEADER = "\t".join(COLUMNS)
LINE = "a\t1\twrong\t1.0\t2.0\t\t2026-01-31T12:00:00Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cohort" / "flags.tsv"


def test_flags_are_sorted_replaced_and_taken_back(path: Path) -> None:
    flags = Flags(path)
    flags.put("b", 10, "good", x_px=1.25, y_px=2)
    flags.put("b", 9, "split", x_px=1, y_px=2, note="two")
    flags.put("a", 7, "wrong", x_px=1, y_px=2)
    flags.put("b", 10, "merged", x_px=3, y_px=4)
    table = read_flags(path)
    assert list(zip(table["sample"], table["cell_id"], table["flag"], strict=True)) == [
        ("a", 7, "wrong"),
        ("b", 9, "split"),
        ("b", 10, "merged"),
    ]
    assert table["cell_id"].dtype == "int64"
    assert table["x_px"].tolist() == [1, 1, 3]
    assert flags.remove("b", 9)
    assert not flags.remove("b", 9)
    assert list(flags.of_sample("b")) == [10]
    assert flags.of_sample("c") == {}


def test_a_file_without_flags_is_one(path: Path) -> None:
    flags = Flags(path)
    assert flags.of_sample("a") == {}
    with pytest.raises(MissingFileError, match="does not exist"):
        read_flags(path)
    flags.put("a", 1, "good", x_px=0, y_px=0)
    flags.remove("a", 1)
    assert read_flags(path).empty
    assert list(read_flags(path).columns) == list(COLUMNS)


def test_flags_of_another_viewer_are_seen(path: Path) -> None:
    ours, others = Flags(path), Flags(path)
    ours.put("a", 1, "good", x_px=0, y_px=0)
    assert list(others.of_sample("a")) == [1]
    others.put("a", 2, "good", x_px=0, y_px=0)
    assert list(ours.of_sample("a")) == [1, 2]


def test_viewers_that_write_at_once_lose_nothing(path: Path) -> None:
    def put(sample: str) -> None:
        flags = Flags(path)
        for cell_id in range(1, 16):
            flags.put(sample, cell_id, "good", x_px=0, y_px=0)

    threads = [threading.Thread(target=put, args=(sample,)) for sample in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_flags(path)) == 60


@given(st.text(max_size=700))
def test_notes_are_one_line_that_no_spreadsheet_runs(text: str) -> None:
    note = harmless(text)
    assert note.isprintable()
    assert len(note) <= NOTE_CHARACTERS + 1
    assert not note.startswith(("=", "+", "-", "@"))
    assert harmless(note)[:NOTE_CHARACTERS] == note[:NOTE_CHARACTERS]


@pytest.mark.parametrize("note", ["=1+1", 'he said "no"', "a\tb\r\nc", "µm ✓", "'", '"'])
def test_notes_are_read_back_here_and_by_pandas(path: Path, note: str) -> None:
    stored = Flags(path).put("a", 1, "wrong", x_px=1, y_px=2, note=note)
    assert read_flags(path)["note"].tolist() == [stored.note] == [harmless(note)]
    assert pd.read_csv(path, sep="\t")["note"].tolist() == [stored.note]


@pytest.mark.parametrize(
    ("sample", "cell_id", "flag", "x"),
    [
        ("", 1, "good", 1.0),
        ("=a", 1, "good", 1.0),
        ("a\tb", 1, "good", 1.0),
        ("a", 0, "good", 1.0),
        ("a", 2**32, "good", 1.0),
        ("a", 1, "great", 1.0),
        ("a", 1, "good", float("nan")),
    ],
)
def test_what_cannot_be_stored_is_refused(path: Path, sample: str, cell_id: int, flag: str, x: float) -> None:
    with pytest.raises(TableError, match="cannot be stored"):
        Flags(path).put(sample, cell_id, flag, x_px=x, y_px=1.0)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", 1),
        ("sample\tcell_id\n", 1),
        (f"{HEADER}\n{LINE}\n{LINE}\n", 3),
        (f"{HEADER}\n{LINE}\nb\t1\n", 3),
        (f"{HEADER}\n{LINE.replace('1.0', 'x')}\n", 2),
        (f"{HEADER}\n{LINE.replace('wrong', 'bad')}\n", 2),
        (f"{HEADER}\n{LINE.replace('2026', 'then')}\n", 2),
        (f"{HEADER}\n\n{LINE}\n\n{LINE.replace('1.0', 'nan')}\n", 5),
        (f"{HEADER}\n{LINE.replace('a', chr(0xDCFF), 1)}\n", 2),
    ],
)
def test_a_malformed_line_is_named(path: Path, content: str, line: int) -> None:
    path.parent.mkdir()
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    before = path.read_bytes()
    for use in (lambda: read_flags(path), lambda: Flags(path).put("z", 1, "good", x_px=0, y_px=0)):
        with pytest.raises(TableError, match=f"line {line}:"):
            use()
    assert path.read_bytes() == before


def test_files_that_windows_programs_saved_are_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(("\ufeff" + f"{HEADER}\n{LINE}\n".replace("\n", "\r\n")).encode())
    assert read_flags(path)["sample"].tolist() == ["a"]


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("not to be emptied")
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / ".flags.tsv.lock").symlink_to(precious)
    with pytest.raises(StorageError, match=r"flags\.tsv cannot be written"):
        Flags(tmp_path / "cohort" / "flags.tsv").put("a", 1, "good", x_px=1, y_px=1)
    assert precious.read_text() == "not to be emptied"


def test_a_folder_that_takes_no_files_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "cohort").write_text("no folder: as little as one without permission does it take a file")
    with pytest.raises(StorageError, match=r"flags\.tsv cannot be written"):
        Flags(tmp_path / "cohort" / "flags.tsv").put("a", 1, "good", x_px=1, y_px=1)


def test_a_file_that_a_spreadsheet_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "flags.tsv"
    flags = Flags(path)
    flags.put("a", 1, "good", x_px=1, y_px=1)
    flags.put("a", 2, "wrong", x_px=1, y_px=1, note='said "no", twice')
    head, first, second = path.read_text().splitlines()
    emptied = "\t" * head.count("\t")
    path.write_bytes("\ufeff".encode() + "\r\n".join([head, first, emptied, second, emptied, ""]).encode())
    assert read_flags(path)["note"].tolist() == ["", 'said "no", twice']
    flags.remove("a", 1)
    assert read_flags(path)["cell_id"].tolist() == [2]
