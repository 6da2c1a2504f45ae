"""Runs the step `fit` for Snakemake."""

from cohortseg.steps.fit import main

main(snakemake)
