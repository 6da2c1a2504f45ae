"""flags.tsv: what people say of single cells while they look at them, for training and evaluation."""

import csv
import fcntl
import io
import math
import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import pandas as pd

from cohortseg.errors import CohortsegError, MissingFileError, StorageError, TableError
from cohortseg.stores.atomic import atomic_path

FLAGS = ("wrong", "merged", "split", "outline", "good")
"""No cell at all; several cells in one; a part of a cell; a cell with a poor outline; a cell as it should be."""

NOTE_CHARACTERS = 500
"""Longer notes are cut."""

_FORMULA_SIGNS = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Flag:
    """What was said of a cell.

    Attributes
    ----------
    sample
        Name of the sample.
    cell_id
        The cell, from 1, as in its polygons.parquet.
    flag
        One of FLAGS.
    x_px, y_px
        Where it was flagged, in full-resolution pixels: it finds the cell after the image was segmented again.
    note
        Free text of one line; may be empty.
    flagged_at
        When, in UTC, as 2026-01-31T12:00:00Z.
    """

    sample: str
    cell_id: int
    flag: str
    x_px: float
    y_px: float
    note: str
    flagged_at: str


COLUMNS = tuple(field.name for field in fields(Flag))
_DTYPES = {"cell_id": "int64", "x_px": "float64", "y_px": "float64"}


def read_flags(path: Path) -> pd.DataFrame:
    """Read flags.tsv: the columns of `Flag`, sorted by sample and cell; without rows where all were taken back.

    Raises
    ------
    MissingFileError
        There is no file.
    TableError
        A line is malformed or says again what an earlier one says; it is named.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            f"{path} does not exist", "expected cells flagged by people", "Flag cells with `cohortseg view`."
        )
    flags = [asdict(flag) for flag in _read(path)]
    return pd.DataFrame(flags, columns=list(COLUMNS)).astype(_DTYPES)


class Flags:
    """The file of flags, kept in step with those that other viewers write; several threads may use it at once.

    Parameters
    ----------
    path
        flags.tsv; need not exist before the first flag.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._lock = Lock()
        self._known: tuple[object, dict[str, dict[int, Flag]]] = None, {}

    def put(self, sample: str, cell_id: int, flag: str, *, x_px: float, y_px: float, note: str = "") -> Flag:
        """Flag a cell, in place of what was said of it before; return what is stored.

        Control characters of the note become blanks, and a note that a spreadsheet would run as a formula gets an
        apostrophe in front.

        Raises
        ------
        TableError
            The flag is unknown, the sample's name or a number cannot be stored, or the file is malformed.
        StorageError
            Nothing may be written there, or there is no room.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        put = Flag(sample, cell_id, flag, round(x_px, 1), round(y_px, 1), harmless(note), now)
        if fault := _fault(put):
            raise TableError(
                f"{fault} cannot be stored in {self._path.name}",
                "expected what config/README.md says",
                "Correct the name or the value.",
            )
        with self._locked():
            others = [each for each in self._read_if_there() if (each.sample, each.cell_id) != (sample, cell_id)]
            _write(self._path, [*others, put])
        return put

    def remove(self, sample: str, cell_id: int) -> bool:
        """Take a flag back; return whether there was one. TableError, StorageError as for `put`."""
        with self._locked():
            flags = self._read_if_there()
            others = [each for each in flags if (each.sample, each.cell_id) != (sample, cell_id)]
            if len(others) == len(flags):
                return False
            _write(self._path, others)
        return True

    def of_sample(self, sample: str) -> dict[int, Flag]:
        """Return the flags of a sample by cell; read again only where the file has changed."""
        with self._lock:
            try:
                status = self._path.stat()
            except FileNotFoundError:
                return {}
            state = status.st_mtime_ns, status.st_size, status.st_ino
            if self._known[0] != state:
                by_sample: dict[str, dict[int, Flag]] = {}
                for flag in _read(self._path):
                    by_sample.setdefault(flag.sample, {})[flag.cell_id] = flag
                self._known = state, by_sample
            return dict(self._known[1].get(sample, {}))

    def _read_if_there(self) -> list[Flag]:
        return _read(self._path) if self._path.is_file() else []

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock that all viewers of the results share; it goes with its process."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Results of somebody else may hold a link of this name: the file that it leads to is not to be touched.
            lock = os.open(
                self._path.with_name(f".{self._path.name}.lock"),
                os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o666,
            )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)
        except CohortsegError:
            raise
        except OSError as error:
            raise StorageError(
                f"{self._path.name} cannot be written: {error.strerror or error}",
                f"expected that files may be written to {self._path.parent}",
                "Have whoever owns these results allow it, or copy them to a place of your own.",
            ) from error


def harmless(text: str) -> str:
    """Return a note as one line of at most NOTE_CHARACTERS that no spreadsheet takes for a formula."""
    plain = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in text)
    note = " ".join(plain.split())[:NOTE_CHARACTERS]
    return f"'{note}" if note.startswith(_FORMULA_SIGNS) else note


def _write(path: Path, flags: Sequence[Flag]) -> None:
    text = io.StringIO()
    rows = csv.writer(text, "excel-tab", lineterminator="\n")
    rows.writerow(COLUMNS)
    for flag in sorted(flags, key=lambda each: (each.sample, each.cell_id)):
        rows.writerow(asdict(flag).values())
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _read(path: Path) -> list[Flag]:
    flags: dict[tuple[str, int], Flag] = {}
    for line, values in _rows(path):
        flag = _parsed(path, line, values)
        if (flag.sample, flag.cell_id) in flags:
            raise _malformed(path, line, f"cell {flag.cell_id} of {flag.sample} is flagged twice")
        flags[flag.sample, flag.cell_id] = flag
    return [flags[key] for key in sorted(flags)]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers, from 2, and values of all rows that are not empty: spreadsheets leave rows of tabs alone."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _malformed(path, line, "it is not UTF-8 text") from error
    rows = csv.reader(io.StringIO(text), "excel-tab", strict=True)
    try:
        if tuple(next(rows, ())) != COLUMNS:
            raise _malformed(path, 1, f"the columns are not {', '.join(COLUMNS)}")
        for values in rows:
            if any(values):
                yield rows.line_num, values
    except csv.Error as error:
        raise _malformed(path, rows.line_num, str(error)) from error


def _parsed(path: Path, line: int, values: Sequence[str]) -> Flag:
    if len(values) != len(COLUMNS):
        raise _malformed(path, line, f"it has {len(values)} values for {len(COLUMNS)} columns")
    sample, cell_id, kind, x_px, y_px, note, flagged_at = values
    try:
        flag = Flag(sample, int(cell_id), kind, float(x_px), float(y_px), note, flagged_at)
        datetime.fromisoformat(flagged_at)
    except ValueError as error:
        raise _malformed(path, line, str(error)) from error
    if fault := _fault(flag):
        raise _malformed(path, line, fault)
    return flag


def _fault(flag: Flag) -> str | None:
    """Return what of a flag may not be stored."""
    is_plain = flag.sample and flag.sample.isprintable() and not flag.sample.startswith(_FORMULA_SIGNS)
    if not is_plain:
        return f"the sample {flag.sample!r}"
    if not 0 < flag.cell_id < 2**32:
        return f"the cell_id {flag.cell_id}"
    if flag.flag not in FLAGS:
        return f"the flag {flag.flag!r} (known are {', '.join(FLAGS)})"
    if not (math.isfinite(flag.x_px) and math.isfinite(flag.y_px)):
        return "a place that is no number"
    return None


def _malformed(path: Path, line: int, cause: str) -> TableError:
    return TableError(
        f"{path.name}, line {line}: {cause}",
        f"expected tab-separated {', '.join(COLUMNS)}",
        "Correct this line, or delete it.",
    )
