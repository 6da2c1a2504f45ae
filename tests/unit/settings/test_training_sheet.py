"""A training sheet is refused with all its faults at once."""

import pytest

from cohortseg.errors import SampleSheetError, TableError
from cohortseg.settings.training_sheet import parse_training_sheet
from cohortseg.stores.sheet import SheetRow

GOOD = {"sample": "a", "image": "a.png", "labels": "/elsewhere/a.tif", "kind": "histology", "split": "train"}


def no_flags(path: str) -> set[str]:
    """Stand for a sheet that names no flags."""
    raise AssertionError(path)


def test_paths_are_relative_to_the_sheet_and_the_order_is_kept() -> None:
    rows = [SheetRow(2, GOOD), SheetRow(3, GOOD | {"sample": "A2", "split": "test"})]
    first, second = parse_training_sheet(rows, "/data", "sheet.tsv", lambda _: True, no_flags)
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
        parse_training_sheet(rows, "/data", "sheet.tsv", lambda path: "gone" not in path, no_flags)
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
        parse_training_sheet([], "/data", "sheet.tsv", lambda _: True, no_flags)


def test_flags_are_of_the_sample_unless_the_sheet_says_otherwise() -> None:
    rows = [
        SheetRow(2, GOOD),
        SheetRow(3, GOOD | {"sample": "b", "flags": "../results/cohort/flags.tsv"}),
        SheetRow(4, GOOD | {"sample": "second_c", "flags": "/other/flags.tsv", "flags_sample": "c"}),
    ]
    samples = parse_training_sheet(rows, "/data", "sheet.tsv", lambda _: True, lambda _: {"b", "c"})
    assert [sample.flags for sample in samples] == [None, "/results/cohort/flags.tsv", "/other/flags.tsv"]
    assert [sample.flags_sample for sample in samples] == ["a", "b", "c"]


def test_faults_of_flags_are_listed_with_their_rows() -> None:
    def flagged_samples(path: str) -> set[str]:
        if "torn" in path:
            raise TableError("torn.tsv, line 3: the flag 'x'", "", "")
        return {"b"}

    rows = [
        SheetRow(2, GOOD | {"flags": "flags.tsv"}),
        SheetRow(3, GOOD | {"sample": "b", "flags": "flags.tsv", "flags_sample": "bb"}),
        SheetRow(4, GOOD | {"sample": "c", "flags_sample": "b"}),
        SheetRow(5, GOOD | {"sample": "d", "flags": "gone.tsv"}),
        SheetRow(6, GOOD | {"sample": "e", "flags": "torn.tsv"}),
    ]
    with pytest.raises(SampleSheetError) as caught:
        parse_training_sheet(rows, "/data", "sheet.tsv", lambda path: "gone" not in path, flagged_samples)
    for text in (
        "sheet.tsv has 5 faults",
        "row 2, sample 'a': flags /data/flags.tsv has no flag of 'a'; correct flags_sample, or empty flags",
        "row 3, sample 'b': flags /data/flags.tsv has no flag of 'bb'",
        "row 4, sample 'c': flags_sample is given but flags is not",
        "row 5, sample 'd': flags /data/gone.tsv does not exist",
        "row 6, sample 'e': flags /data/torn.tsv cannot be used: torn.tsv, line 3: the flag 'x'",
    ):
        assert text in str(caught.value)
