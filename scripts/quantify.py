"""Runs the step `quantify` for Snakemake."""

from cohortseg.steps.quantify import main

main(snakemake)
