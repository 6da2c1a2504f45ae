# Shape, intensity and neighbours of each cell of one sample.


rule quantify:
    input:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
        image=sample_file("image"),
        nuclei=of_nuclei("polygons.parquet"),
        nuclei_metadata=of_nuclei("metadata.json"),
    output:
        **{name: f"{RESULTS}/{{sample}}/{file}" for name, file in PLAN["measured"].items()},
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
        mem_mb=measuring_mb,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        sample="{sample}",
        # A function of `threads` is no reason to rerun: the metadata, an input, tell of a change.
        url=lambda wildcards, threads: sample_plan(wildcards)["url"],
        results_version=VERSION,
        settings={"quantify": PLAN["settings"]["quantify"]},
    script:
        "../../scripts/quantify.py"
