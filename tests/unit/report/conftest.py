"""Made results for the tests of the report."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from cohortseg.evaluate import THRESHOLDS, Counts
from cohortseg.report import ReportData, SampleResult, StackResult


class Made:
    """Makes results of samples and stacks."""

    @staticmethod
    def cells(n: int, diameter_px: float = 20.0, edge: int = 0) -> pd.DataFrame:
        """Return `n` equal cells of which the first `edge` touch the edge; a pixel is half a micrometre wide."""
        area = round(np.pi * diameter_px**2 / 4)
        return pd.DataFrame(
            {
                "area_px": np.full(n, area),
                "area_um2": np.full(n, area / 4),
                "score": np.full(n, 4.0, np.float32),
                "touches_edge": np.arange(n) < edge,
            }
        )

    @staticmethod
    def png(side: int = 64) -> bytes:
        """Return a picture of noise, which compresses badly."""
        pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        encoded: bytes = cv2.imencode(".png", pixels)[1].tobytes()
        return encoded

    def ok(
        self, name: str, cells: pd.DataFrame | None, *, modality: str = "fluorescence", **parts: Any
    ) -> SampleResult:
        """Return a finished sample of one megapixel."""
        metadata = {
            "shape": [1000, 1000],
            "modality": modality,
            "model": {"name": "nuclei-mini"},
            "seconds": {"read": 1.0, "forward": 3.0},
            "peak_memory_bytes": {"read": 2e8, "forward": 5e8},
        }
        stated = {"preview_png": self.png(), "failure": None, "evaluation": None, "metadata": metadata} | parts
        return SampleResult(sample=name, status="ok", cells=cells, **stated)

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
        return SampleResult(name, "failed", {}, None, None, failure, None)

    @staticmethod
    def missing(name: str) -> SampleResult:
        """Return a sample that has not run."""
        return SampleResult(name, "missing", {}, None, None, None, None)

    @staticmethod
    def stack(
        name: str, n_planes: list[int], preview_png: bytes | None = None, through_z_png: bytes | None = None
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
        return StackResult(name, objects, links, preview_png, through_z_png, None)

    @staticmethod
    def cohort(*samples: SampleResult, stacks: tuple[StackResult, ...] = (), **settings: Any) -> ReportData:
        """Return a cohort of these."""
        made_with: Mapping[str, Any] = {"model": "nuclei-mini"} | settings
        return ReportData("Kidney & co", samples, stacks, made_with, {"cohortseg": "0.1.0"}, None)


@pytest.fixture(scope="session")
def made() -> Made:
    return Made()
