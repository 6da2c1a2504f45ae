"""Size, shape, intensity and neighbours of each cell."""

from cohortseg.quantify.measure import measure_cells
from cohortseg.quantify.neighbours import PAIRS, add_neighbours
from cohortseg.quantify.wanted import Wanted

__all__ = ["PAIRS", "Wanted", "add_neighbours", "measure_cells"]
