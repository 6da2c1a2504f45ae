"""Compiled loops over pixels: flow following, grouping, cleaning, tracing, rasterising, resampling, sums.

numpy in, numpy out, no input or output of files. Every module has a documented, checked entry and a private
compiled kernel beneath it.
"""
