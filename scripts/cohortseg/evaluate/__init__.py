"""How well predicted cells agree with true ones, in one image, in a cohort and between models."""

from cohortseg.evaluate.counts import THRESHOLDS, Counts
from cohortseg.evaluate.image import evaluate_image
from cohortseg.evaluate.matching import APResult, average_precision

__all__ = ["THRESHOLDS", "APResult", "Counts", "average_precision", "evaluate_image"]
