# Shape and intensity of each cell of one sample.


rule quantify:
    input:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
        image=sample_file("image"),
    output:
        cells=f"{RESULTS}/{{sample}}/cells.parquet",
    log:
        "logs/quantify/{sample}.log",
    benchmark:
        "benchmarks/quantify/{sample}.tsv"
    group:
        "cells"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=with_cells_mb(2000, "polygons"),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        sample="{sample}",
        # A function of `threads` is no reason to rerun: the metadata, an input, tell of a change.
        url=lambda wildcards, threads: sample_plan(wildcards)["url"],
        results_version=VERSION,
        settings={"quantify": PLAN["settings"]["quantify"]},
    script:
        "../../scripts/quantify.py"
