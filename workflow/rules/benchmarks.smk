# What each step of each image took, as one table and a figure.


rule benchmarks:
    input:
        metadata=METADATA,
        masks=MASKS,
        cells=CELLS,
        quality=QUALITY,
        evaluations=EVALUATIONS,
        objects=OBJECTS,
        batches=BATCHES,
    output:
        benchmarks=f"{COHORT}/benchmarks.tsv",
        figure=report(
            f"{COHORT}/benchmarks.png",
            caption="../report/benchmarks.rst",
            category="Time and memory",
            labels={"what": "jobs"},
        ),
    log:
        "logs/benchmarks/cohort.log",
    benchmark:
        "benchmarks/benchmarks/cohort.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        results_version=VERSION,
        # A function of `threads` is no reason to rerun: what was measured is as new as the inputs.
        plan=lambda wildcards, threads: PLAN,
        folder="benchmarks",
    script:
        "../../scripts/benchmarks.py"
