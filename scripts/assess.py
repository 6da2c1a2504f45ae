"""Runs the step `assess` for Snakemake."""

from cohortseg.steps.assess import main

main(snakemake)
