"""What a report is made of: plain data, with no file behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from cohortseg.evaluate import Counts
from cohortseg.report.pictures import ReadPng
from cohortseg.settings import QcSettings

Status = Literal["ok", "failed", "missing"]
"""ok: finished; failed: a job ended with an error; missing: no result and no error, so it has not run to its end."""

OBJECT_COLUMNS = ("n_planes", "n_gaps", "volume_px", "volume_um3", "mean_iou")
"""The columns of objects.parquet that the report reads."""


@dataclass(frozen=True)
class SampleResult:
    """What there is of one sample.

    Parameters
    ----------
    sample, status
        Its name, and how far it came.
    metadata
        metadata.json, or an empty mapping. Read from it, each where present: `shape` (y, x), `modality`, `seconds`
        (a number, or a mapping of stages to numbers, of which `total` counts alone), `peak_memory_bytes` (a number,
        or a mapping of stages to numbers, of which the largest counts), `counts.cells_cut` (cells larger than the
        window sees around them), `seam_audit.passed`, `intensity_drift` (log2 of the ratio of its range of intensities
        to its cohort's).
    quality
        quality.json, as `steps.assess` writes it; None if it has not been assessed.
    preview_png
        Gives its picture as a PNG file's bytes; None where there is none, also below.
    crops_png
        A few of its cells in a row, as `quality["crops"]` lists them, likewise.
    failure
        Read from it, each where present: `rule`, `error` (the class), `found`, `expected`, `remedy` (of a
        CohortsegError), `message` (of any other error), `log` (path).
    evaluation
        How its cells agree with its ground truth; None without one.
    """

    sample: str
    status: Status
    metadata: Mapping[str, Any]
    quality: Mapping[str, Any] | None
    preview_png: ReadPng | None
    crops_png: ReadPng | None
    failure: Mapping[str, Any] | None
    evaluation: Counts | None

    @property
    def modality(self) -> str:
        """Its kind of image; empty if not known."""
        return str(self.metadata.get("modality") or "")

    @property
    def area_mpx(self) -> float:
        """Size of the image in millions of pixels; NaN if unknown."""
        shape = self.metadata.get("shape")
        return float(shape[-2]) * float(shape[-1]) / 1e6 if shape else float("nan")

    @property
    def seconds(self) -> float:
        """Seconds that its segmentation took; NaN if unknown."""
        seconds = self.metadata.get("seconds")
        if isinstance(seconds, Mapping):
            seconds = seconds.get("total", sum(seconds.values()) if seconds else None)
        return float("nan") if seconds is None else float(seconds)

    @property
    def peak_memory_bytes(self) -> float:
        """Peak memory of its segmentation; NaN if unknown."""
        peak = self.metadata.get("peak_memory_bytes")
        if isinstance(peak, Mapping):
            peak = max(peak.values(), default=None)
        return float("nan") if peak is None else float(peak)

    @property
    def cells_cut(self) -> int:
        """Cells that are larger than the window sees around them; 0 if not counted."""
        return int(self.metadata.get("counts", {}).get("cells_cut", 0))

    @property
    def intensity_drift(self) -> float:
        """How wide its range of intensities is beside that of its cohort, as log2; NaN if unknown."""
        found = self.metadata.get("intensity_drift")
        return float("nan") if found is None else float(found)

    @property
    def seam_audit(self) -> str:
        """Whether borders of tiles left marks: `passed`, `failed`, `not judged` (too little), empty if not looked."""
        audit = self.metadata.get("seam_audit")
        if audit is None:
            return ""
        return {True: "passed", False: "failed"}.get(audit.get("passed"), "not judged")

    @property
    def ap50(self) -> float:
        """Its average precision at an IoU of 0.5; NaN without ground truth."""
        return float("nan") if self.evaluation is None else float(self.evaluation.scores()["ap"][0])


@dataclass(frozen=True)
class StackObjects:
    """What the 3D cells of a stack come to; a number that is not known is None.

    Parameters
    ----------
    number
        How many there are.
    planes
        (planes, 3D cells in so many planes), rising.
    gaps
        How many are missing from a plane between their first and last.
    median_volume_px, median_volume_um3, mean_iou
        Over those of which it is known.
    """

    number: int
    planes: tuple[tuple[int, int], ...]
    gaps: int
    median_volume_px: float | None
    median_volume_um3: float | None
    mean_iou: float | None

    @classmethod
    def of(cls, table: pd.DataFrame) -> Self:
        """Return what the rows of objects.parquet come to, of which `OBJECT_COLUMNS` are read."""
        planes, counts = np.unique(table["n_planes"].to_numpy(int), return_counts=True)
        return cls(
            number=len(table),
            planes=tuple(zip(planes.tolist(), counts.tolist(), strict=True)),
            gaps=int((table["n_gaps"] > 0).sum()),
            median_volume_px=_known(table["volume_px"].dropna().median()),
            median_volume_um3=_known(table["volume_um3"].dropna().median()),
            mean_iou=_known(table["mean_iou"].mean()),
        )

    @property
    def single_plane_share(self) -> float | None:
        """Share of 3D cells that are in one plane only."""
        return dict(self.planes).get(1, 0) / self.number if self.number else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


@dataclass(frozen=True)
class StackResult:
    """What there is of one 3D stack.

    Parameters
    ----------
    stack
        Its name.
    objects
        What its 3D cells come to; None if it has not been stitched.
    links
        link_report.json; None if it has not been stitched.
    projection_png
        Gives its 3D cells as seen from the first plane, as a PNG file's bytes; None where there is none.
    through_z_png
        A few of its cells through the planes, likewise.
    failure
        Why it has not been stitched, as for samples.
    """

    stack: str
    objects: StackObjects | None
    links: Mapping[str, Any] | None
    projection_png: ReadPng | None
    through_z_png: ReadPng | None
    failure: Mapping[str, Any] | None


@dataclass(frozen=True)
class ReportData:
    """A whole cohort, its samples in the order of the sheet, and what it was made with.

    `failed_exports` are files for other programs that could not be made, each by its name, with what
    `SampleResult.failure` holds. `benchmarks` are what its jobs took, as `report.BENCHMARK_COLUMNS`; None where they
    have not been gathered. `qc` says from when on a sample deserves a look.
    """

    title: str
    samples: tuple[SampleResult, ...]
    stacks: tuple[StackResult, ...]
    failed_exports: tuple[tuple[str, Mapping[str, Any]], ...]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    benchmarks: pd.DataFrame | None
    qc: QcSettings
