"""Runs the step `export` for Snakemake."""

from cohortseg.steps.export import main

main(snakemake)
