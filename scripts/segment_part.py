"""Runs the step `segment_part` for Snakemake."""

from cohortseg.steps.segment_part import main

main(snakemake)
