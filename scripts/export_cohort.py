"""Runs the step `export_cohort` for Snakemake."""

from cohortseg.steps.export_cohort import main

main(snakemake)
