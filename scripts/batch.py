"""Runs the step `batch` for Snakemake."""

from cohortseg.steps.batch import main

main(snakemake)
