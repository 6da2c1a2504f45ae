"""Cells flagged as faulty: which they are, and that they are where they were flagged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cohortseg.arrays import Box, Labels
from cohortseg.cli import app
from cohortseg.errors import MissingFileError, TableError
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.steps.flagged import NONE, FaultyCells, faulty_cells_of, read_faulty, tabulate_flags
from cohortseg.stores.flags import FLAGS, Flags
from cohortseg.stores.tables import write_json

SHAPE = (20, 30)


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    """Return flags of two images, one of each kind in the first and good ones only in the second."""
    path = tmp_path / "flags.tsv"
    for cell_id, flag in enumerate(FLAGS, start=1):
        Flags(path).put("a", cell_id, flag, x_px=4.0 * cell_id + 0.5, y_px=2.9)
    Flags(path).put("b", 7, "good", x_px=1.0, y_px=1.0)
    return path


@pytest.fixture
def labels() -> Labels:
    """Return an image with cells 1 to 5 where the flags of a are, 3 x 3 px each."""
    image = np.zeros(SHAPE, np.uint32)
    for cell_id in range(1, 6):
        image[1:4, 4 * cell_id - 1 : 4 * cell_id + 2] = cell_id
    return image


def reader(labels: Labels) -> Callable[[Box], Labels]:
    """Return what reads the labels of a box that lies in the image, as files do."""

    def read(box: Box) -> Labels:
        assert 0 <= box.y0 < box.y1 <= SHAPE[0]
        assert 0 <= box.x0 < box.x1 <= SHAPE[1]
        return labels[box.slices]

    return read


def test_all_flags_but_good_ones_name_faulty_cells(flags: Path) -> None:
    faulty = read_faulty(flags)
    assert {name: cells.cell_ids.tolist() for name, cells in faulty.items()} == {"a": [1, 2, 3, 4], "b": []}
    assert faulty["a"].cell_ids.dtype == np.uint32
    assert faulty["a"].places.tolist() == [[2, 4], [2, 8], [2, 12], [2, 16]]


def test_cells_are_looked_for_where_they_were_flagged(flags: Path, labels: Labels) -> None:
    faulty = read_faulty(flags)["a"]
    faulty.require_in(Path("mask.zarr"), reader(labels), SHAPE)
    # A pixel aside: places are rounded when they are stored.
    faulty.require_in(Path("mask.zarr"), reader(np.roll(labels, 2, axis=0)), SHAPE)
    NONE.require_in(Path("mask.zarr"), reader(labels), SHAPE)


def test_a_cell_may_be_flagged_in_its_hollow(tmp_path: Path) -> None:
    """The middle of a crescent's bounds is no pixel of it."""
    crescent = np.zeros(SHAPE, np.uint32)
    crescent[2:16, 2:16], crescent[4:14, 4:16] = 9, 0
    Flags(tmp_path / "f.tsv").put("a", 9, "outline", x_px=9.0, y_px=9.0)
    read_faulty(tmp_path / "f.tsv")["a"].require_in(Path("a.tif"), reader(crescent), SHAPE)
    with pytest.raises(TableError, match="lacks flagged cells"):
        read_faulty(tmp_path / "f.tsv")["a"].require_in(Path("a.tif"), reader(np.roll(crescent, 13, axis=1)), SHAPE)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda labels: np.where(labels == 2, 0, labels), r"2 \(x 8, y 2\); the labels that people looked at"),
        (lambda labels: np.where(labels > 2, labels - 1, labels), r"3 \(x 12, y 2\), 4 \(x 16, y 2\);"),
        (lambda labels: np.roll(labels, 6, axis=0), r"1 \(x 4, y 2\), 2 .*, 3 .*, 4 "),
    ],
    ids=["gone", "renumbered", "moved"],
)
def test_cells_that_are_not_there_are_named(
    flags: Path, labels: Labels, change: Callable[[Labels], Labels], named: str
) -> None:
    with pytest.raises(TableError, match=rf"^mask\.zarr lacks flagged cells where they were flagged: {named}"):
        read_faulty(flags)["a"].require_in(Path("mask.zarr"), reader(change(labels)), SHAPE)


@pytest.mark.parametrize(("x_px", "y_px"), [(-9.0, 2.0), (1e300, 2.0), (4.0, 20.0), (31.0, 2.0), (4.0, -1e300)])
def test_places_outside_the_image_are_no_places_of_cells(
    tmp_path: Path, labels: Labels, x_px: float, y_px: float
) -> None:
    Flags(tmp_path / "far.tsv").put("a", 1, "wrong", x_px=x_px, y_px=y_px)
    with pytest.raises(TableError, match="lacks flagged cells"):
        read_faulty(tmp_path / "far.tsv")["a"].require_in(Path("a.tif"), reader(labels), SHAPE)


def test_of_many_cells_that_are_not_there_ten_are_named() -> None:
    many = FaultyCells(np.arange(1, 31, dtype=np.uint32), np.full((30, 2), 5, np.int64))
    with pytest.raises(TableError, match=r"1 \(x 5, y 5\).*, 10 \(x 5, y 5\) and 20 more;"):
        many.require_in(Path("a.tif"), reader(np.zeros(SHAPE, np.uint32)), SHAPE)


def test_a_row_of_a_training_sheet_has_the_flags_that_it_names(flags: Path) -> None:
    def row(flags: str | None, name: str) -> TrainingSample:
        return TrainingSample("s", "i.tif", "l.tif", "x", "train", flags=flags, flags_sample=name)

    assert faulty_cells_of(row(None, "s")) is NONE
    assert faulty_cells_of(row(str(flags), "a")).cell_ids.tolist() == [1, 2, 3, 4]
    with pytest.raises(TableError, match=r"flags\.tsv has no flag of 's'.*Set flags_sample"):
        faulty_cells_of(row(str(flags), "s"))
    with pytest.raises(MissingFileError, match=r"gone\.tsv does not exist"):
        faulty_cells_of(row("gone.tsv", "s"))


def test_flags_are_counted_by_sample_and_kind(flags: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "cohort").mkdir(parents=True)
    shutil.copy(flags, results / "cohort")
    for name, cells in (("a", 40), ("b", 10), ("unseen", 99)):
        (results / name).mkdir()
        write_json(results / name / "metadata.json", {"counts": {"cells": cells}})
    printed = CliRunner().invoke(app, ["flags", str(results)])
    assert printed.output.splitlines() == [
        "sample\tcells\tflagged\twrong\tmerged\tsplit\toutline\tgood\tfaulty_of_cells\tfaulty_of_flagged",
        "a\t40\t5\t1\t1\t1\t1\t1\t0.1\t0.8",
        "b\t10\t1\t0\t0\t0\t0\t1\t0.0\t0.0",
        "(all)\t50\t6\t1\t1\t1\t1\t2\t0.08\t0.6667",
    ]


def test_flags_of_the_results_of_one_image_are_counted(tmp_path: Path) -> None:
    Flags(tmp_path / "one" / "cohort" / "flags.tsv").put("one", 3, "split", x_px=1, y_px=1)
    write_json(tmp_path / "one" / "metadata.json", {"counts": {"cells": 4}})
    assert tabulate_flags(tmp_path / "one")["faulty_of_cells"].tolist() == [0.25, 0.25]


def test_flags_of_other_results_are_refused(flags: Path, tmp_path: Path) -> None:
    """A name in the file reaches nothing outside the results."""
    (tmp_path / "results" / "cohort").mkdir(parents=True)
    (tmp_path / "results" / "a").mkdir()
    write_json(tmp_path / "metadata.json", {"counts": {"cells": 1}})
    text = flags.read_text().replace("\nb\t", "\n../b\t")
    (tmp_path / "results" / "cohort" / "flags.tsv").write_text(text)
    with pytest.raises(TableError, match=r"flags\.tsv has flags of \.\./b; samples of .*results were expected"):
        tabulate_flags(tmp_path / "results")
    (tmp_path / "results" / "cohort" / "flags.tsv").write_text(text.splitlines()[0] + "\n")
    with pytest.raises(TableError, match="has flags of no cell"):
        tabulate_flags(tmp_path / "results")


@pytest.mark.parametrize("metadata", [{}, {"counts": 3}, {"counts": {"cells": 0}}, {"counts": {"cells": "many"}}])
def test_results_that_do_not_say_how_many_cells_there_are_are_told(tmp_path: Path, metadata: dict[str, object]) -> None:
    Flags(tmp_path / "cohort" / "flags.tsv").put("a", 1, "wrong", x_px=1, y_px=1)
    write_json(tmp_path / "a" / "metadata.json", metadata)
    with pytest.raises(TableError, match="how many cells"):
        tabulate_flags(tmp_path)
