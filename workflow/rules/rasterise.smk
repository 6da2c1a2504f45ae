# Label image of one sample, as an OME-Zarr pyramid.


rule rasterise:
    input:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
    output:
        mask=directory(f"{RESULTS}/{{sample}}/mask.zarr"),
    log:
        "logs/rasterise/{sample}.log",
    benchmark:
        "benchmarks/rasterise/{sample}.tsv"
    group:
        "cells"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        sample="{sample}",
        results_version=VERSION,
        settings={"rasterise": PLAN["settings"]["rasterise"]},
    script:
        "../../scripts/rasterise.py"
