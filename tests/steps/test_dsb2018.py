"""`cohortseg dsb2018`: the sheet that nuclei-mini was trained with."""

import hashlib
from pathlib import Path

import pytest

from cohortseg.errors import MissingFileError, TableError
from cohortseg.steps.dsb2018 import write_dsb2018_sheet
from cohortseg.steps.training import samples_of_split
from cohortseg.stores.sheet import read_sheet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a manifest of ten images, in falling order of their ids."""
    names = [f"id{i}" for i in range(9, -1, -1)]
    (tmp_path / "bowl").mkdir()
    manifest = "id,h,w,n,kind\n" + "".join(f"{name},256,256,3,fluorescence\n" for name in names)
    (tmp_path / "bowl" / "manifest.csv").write_text(manifest)
    return tmp_path / "bowl"


def test_rows_are_sorted_with_paths_relative_to_the_sheet_and_a_split_by_hash(folder: Path) -> None:
    sheet = folder.parent / "sheets" / "bowl.tsv"
    assert write_dsb2018_sheet(folder, sheet) == 10
    rows = [row.values for row in read_sheet(sheet)]
    assert [row["sample"] for row in rows] == [f"id{i}" for i in range(10)]
    assert (rows[3]["image"], rows[3]["labels"]) == ("../bowl/images/id3.png", "../bowl/labels/id3.tif")
    for row in rows:
        fifth = int(hashlib.sha1(row["sample"].encode()).hexdigest(), 16) % 5 == 0
        assert row["split"] == ("test" if fifth else "train")
    assert {row["split"] for row in rows} == {"test", "train"}


def test_the_real_images_are_split_as_the_model_card_says(shared_data: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "dsb2018.tsv"
    assert write_dsb2018_sheet(shared_data / "dsb2018", sheet) == 537
    assert len(samples_of_split(sheet, "train")) == 435
    assert len(samples_of_split(sheet, "test")) == 102


def test_other_folders_are_refused(folder: Path) -> None:
    (folder / "manifest.csv").write_text("name,kind\na,b\n")
    with pytest.raises(TableError, match=r"manifest\.csv has no column id; it has: name, kind"):
        write_dsb2018_sheet(folder, folder / "sheet.tsv")
    (folder / "manifest.csv").write_text("")
    with pytest.raises(TableError, match="has no column id and no column kind"):
        write_dsb2018_sheet(folder, folder / "sheet.tsv")
    (folder / "manifest.csv").unlink()
    with pytest.raises(MissingFileError, match=r"holds no manifest\.csv"):
        write_dsb2018_sheet(folder, folder / "sheet.tsv")
