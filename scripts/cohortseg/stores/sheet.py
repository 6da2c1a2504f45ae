"""Sample sheets as text: tab-separated rows by column name, without interpretation."""

from dataclasses import dataclass
from pathlib import Path

from cohortseg.errors import MissingFileError, SampleSheetError

COMMENT = "#"


@dataclass(frozen=True)
class SheetRow:
    """A row: its line number in the file, from 1, and its values by column; an absent value is an empty text."""

    line: int
    values: dict[str, str]


def read_sheet(path: Path) -> list[SheetRow]:
    """Read a tab-separated UTF-8 table with a header.

    A byte-order mark, Windows line ends, blank lines and lines that start with # are tolerated; blanks around values
    are dropped; values missing at a row's end are empty.

    Raises
    ------
    MissingFileError
        There is no file.
    SampleSheetError
        It is not UTF-8, has no header, or has unnamed or repeated columns or rows with too many values; one error
        lists all faults with their lines.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            f"{path} does not exist", "expected a tab-separated sample sheet", "Set samples in config/config.yaml."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SampleSheetError(
            f"{path.name} is not UTF-8 text (line {line})", "expected UTF-8", "Save the sheet as UTF-8 text."
        ) from error
    lines = [
        (number, [cell.strip() for cell in line.split("\t")])
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and not line.startswith(COMMENT)
    ]
    if not lines:
        raise SampleSheetError(
            f"{path.name} is empty", "expected a header with the columns sample and image", "Add a header and rows."
        )
    (header_line, columns), rows = lines[0], lines[1:]
    faults = _header_faults(header_line, columns)
    faults += [
        f"line {line} has {len(cells)} values for {len(columns)} columns"
        for line, cells in rows
        if any(cells[len(columns) :])
    ]
    if faults:
        raise SampleSheetError(
            f"{path.name}: {'; '.join(faults)}",
            "expected a header of distinct names and one value a column",
            "Correct these lines; separate values by single tabs.",
        )
    return [SheetRow(line, dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))) for line, cells in rows]


def _header_faults(line: int, columns: list[str]) -> list[str]:
    faults = [f"column {i} in line {line} has no name" for i, name in enumerate(columns, start=1) if not name]
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    return faults + [f"column {name!r} in line {line} is repeated" for name in repeated]
