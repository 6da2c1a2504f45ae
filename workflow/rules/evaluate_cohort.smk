# Evaluations of all labelled samples as tables and curves.


rule evaluate_cohort:
    input:
        evaluations=EVALUATIONS,
        batches=BATCHES,
    output:
        evaluation=f"{COHORT}/evaluation.tsv",
        summary=f"{COHORT}/evaluation_summary.tsv",
        curves=report(
            f"{COHORT}/evaluation.png",
            caption="../report/evaluation.rst",
            category="Ground truth",
            labels={"what": "average precision"},
        ),
    log:
        "logs/evaluate_cohort/cohort.log",
    benchmark:
        "benchmarks/evaluate_cohort/cohort.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        samples=LABELLED,
        results_version=VERSION,
    script:
        "../../scripts/evaluate_cohort.py"
