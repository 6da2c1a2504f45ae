"""Runs the step `archive` for Snakemake."""

from cohortseg.steps.archive import main

main(snakemake)
