"""Runs the step `rasterise` for Snakemake."""

from cohortseg.steps.rasterise import main

main(snakemake)
