"""Polygons and labels turned into one another, in memory."""

from cohortseg.shapes.polygons import geometries, polygonise
from cohortseg.shapes.rasters import rasterise, rasterise_into

__all__ = ["geometries", "polygonise", "rasterise", "rasterise_into"]
