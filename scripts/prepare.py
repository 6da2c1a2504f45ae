"""Runs the step `prepare` for Snakemake."""

from cohortseg.steps.prepare import main

main(snakemake)
