"""Runs the step `overlaps` for Snakemake."""

from cohortseg.steps.overlaps import main

main(snakemake)
