# The models of compare.models side by side on every labelled sample. To segment and evaluate with another model are the
# steps `segment` and `evaluate` once more, into another folder: their rules are used again as they are, and the plan of
# the sample (common.smk) holds what the model replaces.


use rule segment as compare_segment with:
    output:
        polygons=f"{COMPARED}/polygons.parquet",
        metadata=f"{COMPARED}/metadata.json",
    log:
        "logs/compare_segment/{compared}/{sample}.log",
    benchmark:
        "benchmarks/compare_segment/{compared}/{sample}.tsv"
    wildcard_constraints:
        compared=one_of(PLAN["compare"]),
        # A scattered image, too, is one job here.
        sample=SAMPLE_PATTERN,


use rule evaluate as compare_evaluate with:
    input:
        polygons=f"{COMPARED}/polygons.parquet",
        metadata=f"{COMPARED}/metadata.json",
        labels=sample_file("labels"),
    output:
        evaluation=f"{COMPARED}/evaluation.json",
    log:
        "logs/compare_evaluate/{compared}/{sample}.log",
    benchmark:
        "benchmarks/compare_evaluate/{compared}/{sample}.tsv"
    wildcard_constraints:
        compared=one_of(PLAN["compare"]),


rule compare:
    input:
        evaluations=of_compared("evaluation.json"),
        metadata=of_compared("metadata.json"),
    output:
        comparison=f"{RESULTS}/compare/comparison.tsv",
        summary=f"{RESULTS}/compare/comparison_summary.tsv",
        pairs=f"{RESULTS}/compare/comparison_pairs.tsv",
        curves=f"{RESULTS}/compare/comparison.png",
        page=f"{RESULTS}/compare/comparison.md",
    log:
        "logs/compare/cohort.log",
    benchmark:
        "benchmarks/compare/cohort.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        results_version=VERSION,
        images=[(compared, sample) for compared in PLAN["compare"] for sample in LABELLED],
    script:
        "../../scripts/compare.py"
