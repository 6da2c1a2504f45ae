"""Runs the step `benchmarks` for Snakemake."""

from cohortseg.steps.benchmarks import main

main(snakemake)
