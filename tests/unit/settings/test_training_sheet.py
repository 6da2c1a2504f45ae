"""A training sheet is refused with all its faults at once."""

import pytest

from cohortseg.errors import SampleSheetError
from cohortseg.settings.training_sheet import parse_training_sheet
from cohortseg.stores.sheet import SheetRow

GOOD = {"sample": "a", "image": "a.png", "labels": "/elsewhere/a.tif", "kind": "histology", "split": "train"}


def test_paths_are_relative_to_the_sheet_and_the_order_is_kept() -> None:
    rows = [SheetRow(2, GOOD), SheetRow(3, GOOD | {"sample": "A2", "split": "test"})]
    first, second = parse_training_sheet(rows, "/data", "sheet.tsv", lambda _: True)
    assert (first.image, first.labels) == ("/data/a.png", "/elsewhere/a.tif")
    assert (first.kind, first.split, second.sample, second.split) == ("histology", "train", "A2", "test")


def test_all_faults_are_listed_with_their_rows() -> None:
    rows = [
        SheetRow(2, GOOD),
        SheetRow(3, GOOD | {"sample": "b", "split": "validation"}),
        SheetRow(4, GOOD | {"sample": "c", "kind": ""}),
        SheetRow(5, GOOD | {"sample": "A", "image": "gone.png"}),
        SheetRow(6, GOOD | {"sample": "e", "lables": "x"}),
    ]
    with pytest.raises(SampleSheetError) as caught:
        parse_training_sheet(rows, "/data", "sheet.tsv", lambda path: "gone" not in path)
    for text in (
        "sheet.tsv has 5 faults",
        "column 'lables' is unknown; did you mean 'labels'?",
        "row 3, sample 'b': column split: found 'validation', allowed: 'train' or 'test'",
        "row 4, sample 'c': column kind: it is missing or empty",
        "row 5, sample 'A': image /data/gone.png does not exist",
        "row 5, sample 'A': the name is already used by row 2, there 'a'",
    ):
        assert text in str(caught.value)


def test_a_sheet_without_rows_is_refused() -> None:
    with pytest.raises(SampleSheetError, match="it has no rows"):
        parse_training_sheet([], "/data", "sheet.tsv", lambda _: True)
