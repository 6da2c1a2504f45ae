"""Runs the step `evaluate` for Snakemake."""

from cohortseg.steps.evaluate import main

main(snakemake)
