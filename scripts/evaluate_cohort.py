"""Runs the step `evaluate_cohort` for Snakemake."""

from cohortseg.steps.evaluate_cohort import main

main(snakemake)
