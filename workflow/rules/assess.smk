# What tells whether to trust an image and its cells, and its pictures for the report.


rule assess:
    input:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
        cells=f"{RESULTS}/{{sample}}/cells.parquet",
        image=sample_file("image"),
    output:
        quality=f"{RESULTS}/{{sample}}/quality.json",
        preview=f"{RESULTS}/{{sample}}/preview.png",
        crops=f"{RESULTS}/{{sample}}/crops.png",
    log:
        "logs/assess/{sample}.log",
    benchmark:
        "benchmarks/assess/{sample}.tsv"
    group:
        "cells"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=with_cells_mb(2000, "cells"),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        sample="{sample}",
        # A function of `threads` is no reason to rerun: the metadata, an input, tell of a change.
        url=lambda wildcards, threads: sample_plan(wildcards)["url"],
        results_version=VERSION,
        settings={"report": {"thumbnail_px": PLAN["settings"]["report"]["thumbnail_px"]}},
    script:
        "../../scripts/assess.py"
