"""Runs the step `promote` for Snakemake."""

from cohortseg.steps.promote import main

main(snakemake)
