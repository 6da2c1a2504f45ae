# Agreement of one sample's cells with its ground truth, where the sheet names one.


rule evaluate:
    input:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
        labels=sample_file("labels"),
    output:
        evaluation=f"{RESULTS}/{{sample}}/evaluation.json",
    log:
        "logs/evaluate/{sample}.log",
    benchmark:
        "benchmarks/evaluate/{sample}.tsv"
    group:
        "cells"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=with_cells_mb(2000, "polygons"),
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        sample="{sample}",
        results_version=VERSION,
    script:
        "../../scripts/evaluate.py"
