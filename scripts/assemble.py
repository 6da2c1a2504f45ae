"""Runs the step `assemble` for Snakemake."""

from cohortseg.steps.assemble import main

main(snakemake)
