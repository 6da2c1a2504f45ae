from pathlib import Path

import pytest

from cohortseg.errors import MissingFileError, SampleSheetError
from cohortseg.stores.sheet import SheetRow, read_sheet


def sheet(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "samples.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_keep_their_line_numbers_through_comments_and_blank_lines(tmp_path: Path) -> None:
    path = sheet(tmp_path, "# my cohort\n\nsample\timage\tstack\n\na\ta.tif\t\n# b\tb.tif\nc\t c.tif \n")
    assert read_sheet(path) == [
        SheetRow(5, {"sample": "a", "image": "a.tif", "stack": ""}),
        SheetRow(7, {"sample": "c", "image": "c.tif", "stack": ""}),
    ]


def test_sheets_saved_by_windows_programs_are_read(tmp_path: Path) -> None:
    path = sheet(tmp_path, b"\xef\xbb\xbfsample\timage\r\nzell\xc3\xa9\tz.tif\r\n")
    assert read_sheet(path) == [SheetRow(2, {"sample": "zellé", "image": "z.tif"})]


def test_trailing_tabs_of_spreadsheets_are_tolerated(tmp_path: Path) -> None:
    assert read_sheet(sheet(tmp_path, "sample\timage\na\ta.tif\t\t\n")) == [
        SheetRow(2, {"sample": "a", "image": "a.tif"})
    ]


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert read_sheet(sheet(tmp_path, "sample\timage\n")) == []


def test_all_faults_are_in_one_error_with_their_lines(tmp_path: Path) -> None:
    path = sheet(tmp_path, "sample\timage\tsample\t\tz\na\tb\tc\td\te\tf\n\nb\tb.tif\nc\t1\t2\t3\t4\t5\t6\n")
    with pytest.raises(SampleSheetError) as error:
        read_sheet(path)
    for fault in ("column 4 in line 1 has no name", "'sample' in line 1 is repeated", "line 2 has 6", "line 5 has 7"):
        assert fault in str(error.value)
    assert "line 4" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"\n# only a comment\n", "is empty"),
        (b"sample\timage\nz\xe9\tz.tif\n", r"UTF-8 text \(line 2"),
    ],
)
def test_a_sheet_that_is_no_table_is_refused(content: bytes, fault: str, tmp_path: Path) -> None:
    with pytest.raises(SampleSheetError, match=fault):
        read_sheet(sheet(tmp_path, content))


def test_a_missing_sheet_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"samples\.tsv does not exist"):
        read_sheet(tmp_path / "samples.tsv")
