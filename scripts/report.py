"""Runs the step `report` for Snakemake."""

from cohortseg.steps.report import main

main(snakemake)
