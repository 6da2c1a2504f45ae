"""How well predicted cells agree with true ones."""

from cohortseg.evaluate.matching import APResult, average_precision

__all__ = ["APResult", "average_precision"]
