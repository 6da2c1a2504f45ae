"""Runs the step `compare` for Snakemake."""

from cohortseg.steps.compare import main

main(snakemake)
