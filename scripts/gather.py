"""Runs the step `gather` for Snakemake."""

from cohortseg.steps.gather import main

main(snakemake)
