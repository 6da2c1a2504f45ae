# The cohort on one page.


rule report:
    input:
        metadata=METADATA,
        cells=CELLS,
        tables=MORE_TABLES,
        quality=QUALITY,
        pictures=PICTURES,
        evaluations=EVALUATIONS,
        objects=OBJECTS,
        links=LINK_REPORTS,
        batches=BATCHES,
        # Which of them failed is told.
        exports=EXPORTS + COHORT_EXPORTS,
        benchmarks=f"{COHORT}/benchmarks.tsv",
    output:
        summary=report(
            f"{COHORT}/summary.tsv",
            caption="../report/summary.rst",
            category="Cohort",
            labels={"what": "all images"},
        ),
        cells=f"{COHORT}/cells.parquet",
        report=report(
            f"{COHORT}/report.html",
            caption="../report/report.rst",
            category="Cohort",
            labels={"what": "report"},
        ),
    log:
        "logs/report/cohort.log",
    benchmark:
        "benchmarks/report/cohort.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        # Whatever the number of cells: those of 200 samples with 100,000 each pass through 0.35 GB.
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        results_version=VERSION,
        # A function of `threads` is no reason to rerun: what the report shows is among its inputs.
        plan=lambda wildcards, threads: PLAN,
        settings={key: PLAN["settings"][key] for key in ("report", "qc")},
    script:
        "../../scripts/report.py"
