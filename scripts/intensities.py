"""Runs the step `intensities` for Snakemake."""

from cohortseg.steps.intensities import main

main(snakemake)
