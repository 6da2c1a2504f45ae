"""Size, shape and intensity of each cell."""

from cohortseg.quantify.measure import measure_cells

__all__ = ["measure_cells"]
