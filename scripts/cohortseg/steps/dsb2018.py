"""`cohortseg dsb2018`: the training sheet of the Data Science Bowl 2018 images."""

import csv
import hashlib
import os
from pathlib import Path

import pandas as pd

from cohortseg.errors import MissingFileError, TableError
from cohortseg.stores.tables import write_tsv

_NEEDED = ("id", "kind")
_TEST_SHARE = 5


def write_dsb2018_sheet(folder: Path, sheet: Path) -> int:
    """Write the training sheet of a folder of BBBC038 stage 1 images and return its number of rows.

    One image in five, chosen by the sha1 of its id and so for good, is of split `test`. Rows are sorted by id;
    paths are relative to the sheet.

    Parameters
    ----------
    folder
        Holds `manifest.csv` with the columns id and kind, `images/<id>.png` and `labels/<id>.tif`.

    Raises
    ------
    MissingFileError
        If there is no manifest.
    TableError
        If it lacks a column.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise MissingFileError(
            f"{folder} holds no manifest.csv", "the folder of the images was expected", "Correct the path."
        )
    with manifest.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        if missing:
            raise TableError(
                f"manifest.csv has no column {' and no column '.join(missing)}",
                f"it has: {', '.join(reader.fieldnames or ())}",
                "Restore the file.",
            )
        entries = sorted((entry["id"], entry["kind"]) for entry in reader)
    base = os.path.relpath(folder.absolute(), sheet.absolute().parent)
    rows = [
        {
            "sample": name,
            "image": os.path.join(base, "images", f"{name}.png"),
            "labels": os.path.join(base, "labels", f"{name}.tif"),
            "kind": kind,
            "split": _split(name),
        }
        for name, kind in entries
    ]
    write_tsv(sheet, pd.DataFrame(rows))
    return len(rows)


def _split(name: str) -> str:
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return "test" if int(digest, 16) % _TEST_SHARE == 0 else "train"
