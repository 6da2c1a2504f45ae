"""Cells that people flagged as faulty while they looked at results: training and evaluation leave them out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.errors import TableError
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.stores.flags import FLAGS, read_flags
from cohortseg.stores.tables import read_json

_ALL = "(all)"
_SOUND = "good"
_NAMED = 10
# A cell is looked for around its place: most are found at once, crescents a little further out.
_REACHES_PX = (1, 64, 512)
# Beyond any image, and an integer: the file may hold any number.
_FAR_PX = 2**40


@dataclass(frozen=True)
class FaultyCells:
    """The cells of one image that are flagged as anything but good.

    Attributes
    ----------
    cell_ids
        (n,) uint32, rising.
    places
        (n, 2) the (y, x) pixel that each was flagged at.
    """

    cell_ids: NDArray[np.uint32]
    places: NDArray[np.int64]

    def require_in(self, labels: Path, read: Callable[[Box], Labels], shape: tuple[int, int]) -> None:
        """Raise TableError unless each cell is in the labels and was flagged within its bounds, give or take a pixel.

        Cells are numbered anew when an image is segmented anew: a number alone could be another cell's.

        Parameters
        ----------
        labels
            Their file, for the message.
        read
            Gives the labels of a box; asked for some pixels around each cell.
        shape
            (y, x) of the labels.
        """
        gone = [
            f"{cell_id} (x {x}, y {y})"
            for cell_id, (y, x) in zip(self.cell_ids.tolist(), self.places.tolist(), strict=True)
            if not _is_around(cell_id, y, x, read, shape)
        ]
        if gone:
            more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
            raise TableError(
                f"{labels} lacks flagged cells where they were flagged: {', '.join(gone[:_NAMED])}{more}",
                "the labels that people looked at were expected",
                "Give these labels, or look at the new ones and flag their cells; take back the flags of the old ones.",
            )


def _is_around(cell_id: int, y: int, x: int, read: Callable[[Box], Labels], shape: tuple[int, int]) -> bool:
    """Return whether a cell has pixels on all sides of a place, so that the place is within its bounds."""
    for reach in _REACHES_PX:
        box = Box(y, x, y + 1, x + 1).grown(reach, shape)
        if box.height < 1 or box.width < 1:
            return False
        pixels = np.nonzero(read(box) == cell_id)
        sides = zip(pixels, (y - box.y0, x - box.x0), strict=True)
        if pixels[0].size and all(each.min() - 1 <= place <= each.max() + 1 for each, place in sides):
            return True
    return False


NONE = FaultyCells(np.zeros(0, np.uint32), np.zeros((0, 2), np.int64))
"""No cell is faulty."""


def read_faulty(flags: Path) -> dict[str, FaultyCells]:
    """Return the faulty cells of each sample in a file of flags; none of a sample of which all flags are good.

    Raises
    ------
    MissingFileError, TableError
        There is no file, or a line of it is malformed.
    """
    found = {}
    for sample, rows in read_flags(flags).groupby("sample"):
        faulty = rows[rows["flag"] != _SOUND].sort_values("cell_id")
        places = np.clip(np.floor(faulty[["y_px", "x_px"]].to_numpy(np.float64)), -_FAR_PX, _FAR_PX).astype(np.int64)
        found[str(sample)] = FaultyCells(faulty["cell_id"].to_numpy(np.uint32), places)
    return found


def faulty_cells_of(sample: TrainingSample) -> FaultyCells:
    """Return the faulty cells of a row of a training sheet; none where it names no flags.

    Raises
    ------
    MissingFileError, TableError
        As for `read_faulty`, or the file has no flag of this image.
    """
    if sample.flags is None:
        return NONE
    faulty = read_faulty(Path(sample.flags)).get(sample.flags_sample)
    if faulty is None:
        raise TableError(
            f"{sample.flags} has no flag of '{sample.flags_sample}'",
            "one was expected, since the training sheet names the file",
            "Set flags_sample to its name there, or leave flags empty.",
        )
    return faulty


def tabulate_flags(results: Path) -> pd.DataFrame:
    """Return what people said of the cells of each sample that they flagged some of, and of all these together.

    Parameters
    ----------
    results
        Folder of a workflow's results, or of one image's; the viewer writes flags to `cohort/flags.tsv` there.

    Returns
    -------
    Columns: `sample`, `cells` (all of the sample), `flagged`, one for each of FLAGS, `faulty_of_cells` (flagged as
    anything but good, of all cells: the share of faulty cells where somebody looked at every one and flagged the faulty
    ones), `faulty_of_flagged` (of those flagged: the share where a sample of cells was flagged, the good ones too). A
    row a sample, by name, then one for all together.

    Raises
    ------
    MissingFileError, TableError
        There are no flags, a line of them is malformed, or the results lack a sample or its metadata.
    """
    flags = read_flags(results / "cohort" / "flags.tsv")
    # Names in the file are only compared: they never become paths.
    folders = {path.name: path for path in (results.resolve(), *results.iterdir())}
    missing = [name for name in dict.fromkeys(flags["sample"]) if name not in folders]
    if missing or flags.empty:
        raise TableError(
            f"flags.tsv has flags of {', '.join(missing[:_NAMED]) or 'no cell'}",
            f"samples of {results} were expected",
            "Name the results that people looked at.",
        )
    rows = []
    for sample, of_sample in flags.groupby("sample"):
        cells = _count_cells(folders[str(sample)] / "metadata.json")
        kinds = of_sample["flag"].value_counts()
        rows.append(
            {
                "sample": sample,
                "cells": cells,
                "flagged": len(of_sample),
                **{kind: int(kinds.get(kind, 0)) for kind in FLAGS},
            }
        )
    table = pd.DataFrame(rows)
    table.loc[len(table)] = {"sample": _ALL, **table.drop(columns="sample").sum()}
    faulty = table["flagged"] - table[_SOUND]
    return table.assign(
        faulty_of_cells=(faulty / table["cells"]).round(4), faulty_of_flagged=(faulty / table["flagged"]).round(4)
    )


def _count_cells(metadata: Path) -> int:
    counts = read_json(metadata).get("counts")
    cells = counts.get("cells") if isinstance(counts, dict) else None
    if not isinstance(cells, int) or cells < 1:
        raise TableError(
            f"{metadata} does not say how many cells there are, or says none",
            "results with cells were expected, since some of them are flagged",
            "Segment the image again, or take the flags of this sample out of flags.tsv.",
        )
    return cells
