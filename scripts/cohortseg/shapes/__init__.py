"""Polygons and labels turned into one another, in memory."""

from cohortseg.shapes.polygons import geometries, polygonise
from cohortseg.shapes.rasters import label_values, rasterise, rasterise_into

__all__ = ["geometries", "label_values", "polygonise", "rasterise", "rasterise_into"]
