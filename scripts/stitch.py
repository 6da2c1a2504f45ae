"""Runs the step `stitch` for Snakemake."""

from cohortseg.steps.stitch import main

main(snakemake)
