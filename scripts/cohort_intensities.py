"""Runs the step `cohort_intensities` for Snakemake."""

from cohortseg.steps.cohort_intensities import main

main(snakemake)
