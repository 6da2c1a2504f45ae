"""Runs the step `segment` for Snakemake."""

from cohortseg.steps.segment import main

main(snakemake)
