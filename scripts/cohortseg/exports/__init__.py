"""Files for other programs: AnnData, SpatialData, QuPath, Xenium, ImageJ."""

from cohortseg.exports.anndata import write_anndata
from cohortseg.exports.cells import CellSource
from cohortseg.exports.geojson import write_geojson
from cohortseg.exports.imagej import write_rois
from cohortseg.exports.spatialdata import write_spatialdata
from cohortseg.exports.xenium import write_xenium

__all__ = ["CellSource", "write_anndata", "write_geojson", "write_rois", "write_spatialdata", "write_xenium"]
