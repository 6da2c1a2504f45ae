# The cohort on one page.


rule report:
    input:
        metadata=METADATA,
        cells=CELLS,
        previews=PREVIEWS,
        evaluations=EVALUATIONS,
        objects=OBJECTS,
        links=LINK_REPORTS,
        batches=BATCHES,
        benchmarks=f"{COHORT}/benchmarks.tsv",
    output:
        summary=f"{COHORT}/summary.tsv",
        cells=f"{COHORT}/cells.parquet",
        report=f"{COHORT}/report.html",
    log:
        "logs/report/cohort.log",
    benchmark:
        "benchmarks/report/cohort.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=with_cells_mb(4000, "cells"),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        results_version=VERSION,
        # A function of `threads` is no reason to rerun: what the report shows is among its inputs.
        plan=lambda wildcards, threads: PLAN,
        settings={"report": PLAN["settings"]["report"]},
    script:
        "../../scripts/report.py"
