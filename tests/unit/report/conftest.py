"""Made results for the tests of the report."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from cohortseg.evaluate import THRESHOLDS, Counts
from cohortseg.report import ReportData, SampleResult, StackObjects, StackResult
from cohortseg.report.pictures import ReadPng
from cohortseg.settings import QcSettings


class Made:
    """Makes results of samples and stacks."""

    @staticmethod
    def quality(n: int, diameter_px: float = 20.0, edge: int = 0, **channel: Any) -> dict[str, Any]:
        """Return what quality.json says of `n` equal cells, of which `edge` touch the edge, in one megapixel.

        A pixel is half a micrometre wide; `channel` replaces what is said of the only channel.
        """
        area = round(np.pi * diameter_px**2 / 4)
        values = {
            "area_px": area, "area_um2": area / 4, "diameter_px": diameter_px, "diameter_um": diameter_px / 2,
            "score": 0.9, "flow_error": 0.1, "solidity": 0.95, "eccentricity": 0.5,
        }  # fmt: skip
        names = ("median", "mean", "std", "p5", "p25", "p75", "p95")
        edges = {
            "diameter_px": np.geomspace(1, 1000, 61), "score": np.linspace(0, 1, 51),
            "flow_error": np.linspace(0, 1.2, 61),
        }  # fmt: skip
        said = {
            "name": "DAPI", "segmented": True, "saturated_share": 0.0, "saturated_in_cells": 0.0 if n else None,
            "zero_share": 0.0, "sharpness": 1.0, "median_in_cells": 900.0, "median_outside": 100.0, "shift_px": None,
            "shift_confidence": None,
        }  # fmt: skip
        return {
            "n_cells": n,
            "touches_edge_share": edge / n if n else None,
            "area_mpx": 1.0,
            "cells": {key: dict.fromkeys(names, value if n else None) for key, value in values.items()},
            "histograms": {
                key: {"edges": each.tolist(), "counts": np.histogram(np.full(n, values[key]), each)[0].tolist()}
                for key, each in edges.items()
            },
            "channels": [said | channel],
            "tiles": {"side_px": 120, "n": 64, "empty": 0, "suspicious": 0},
            "crops": {"side_px": 96, "cells": []},
        }

    @staticmethod
    def png(side: int = 64) -> bytes:
        """Return a picture of noise, which compresses badly."""
        pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        encoded: bytes = cv2.imencode(".png", pixels)[1].tobytes()
        return encoded

    def ok(
        self, name: str, quality: Mapping[str, Any] | None, *, modality: str = "fluorescence", **parts: Any
    ) -> SampleResult:
        """Return a finished sample of one megapixel."""
        metadata = {
            "shape": [1000, 1000],
            "modality": modality,
            "model": {"name": "nuclei-mini"},
            "seconds": {"read": 1.0, "forward": 3.0},
            "peak_memory_bytes": {"read": 2e8, "forward": 5e8},
        }
        pictures = {"preview_png": self.png, "crops_png": None}
        stated = {**pictures, "failure": None, "evaluation": None, "metadata": metadata} | parts
        return SampleResult(sample=name, status="ok", quality=quality, **stated)

    @staticmethod
    def counts(tp: int, n_true: int, n_predicted: int) -> Counts:
        """Return counts of cells that match equally well at every threshold, by nine tenths."""
        return Counts(
            tp=(tp,) * len(THRESHOLDS),
            n_true=n_true,
            n_predicted=n_predicted,
            matched_iou=0.9 * tp,
            true_px=100 * n_true,
            predicted_px=100 * n_predicted,
            common_px=90 * tp,
            splits=1,
            merges=2,
            inner_tp=tp,
            inner_true=n_true,
            inner_predicted=n_predicted,
        )

    @staticmethod
    def failed(name: str, **failure: str) -> SampleResult:
        """Return a sample that failed."""
        return SampleResult(name, "failed", {}, None, None, None, failure, None)

    @staticmethod
    def missing(name: str) -> SampleResult:
        """Return a sample that has not run."""
        return SampleResult(name, "missing", {}, None, None, None, None, None)

    @staticmethod
    def stack(
        name: str, n_planes: list[int], projection_png: ReadPng | None = None, through_z_png: ReadPng | None = None
    ) -> StackResult:
        """Return a stack of two planes, the second of which is odd, with one object for each number of planes."""
        n = len(n_planes)
        objects = pd.DataFrame(
            {
                "n_planes": n_planes,
                "n_gaps": np.arange(n) == 1,
                "volume_px": np.full(n, 900),
                "volume_um3": np.full(n, np.nan),
                "mean_iou": np.where(np.array(n_planes) > 1, 0.8, np.nan),
            }
        )
        planes = [
            {"z_index": 0, "start_share": None, "end_share": 0.1, "suspicious": []},
            {"z_index": 1, "start_share": 0.1, "end_share": None, "suspicious": ["ends"]},
        ]
        links = {
            "n_links": 2,
            "n_splits": 3,
            "n_merges": 4,
            "dropped": {"objects": 9, "cells": 9, "min_planes": 2},
            "settings": {"rule": "best", "iou_threshold": 0.5},
            "iou_histogram": {"edges": [0.0, 0.5, 1.0], "counts": [0, 2]},
            "planes": planes,
        }
        return StackResult(name, StackObjects.of(objects), links, projection_png, through_z_png, None)

    @staticmethod
    def cohort(*samples: SampleResult, stacks: tuple[StackResult, ...] = (), **settings: Any) -> ReportData:
        """Return a cohort of these."""
        made_with: Mapping[str, Any] = {"model": "nuclei-mini"} | settings
        return ReportData("Kidney & co", samples, stacks, (), made_with, {"cohortseg": "0.1.0"}, None, QcSettings())


@pytest.fixture(scope="session")
def made() -> Made:
    return Made()
