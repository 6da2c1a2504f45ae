"""Size, shape and intensity of each cell."""

from cohortseg.quantify.measure import Wanted, measure_cells

__all__ = ["Wanted", "measure_cells"]
