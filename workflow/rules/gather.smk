# Cells of one scattered image, from its parts.


rule gather:
    input:
        prepared=f"{RESULTS}/{{sample}}/prepared.json",
        polygons=of_parts("parquet"),
        metadata=of_parts("json"),
    output:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
    log:
        "logs/gather/{sample}.log",
    benchmark:
        "benchmarks/gather/{sample}.tsv"
    wildcard_constraints:
        sample=one_of(SCATTERED),
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        sample="{sample}",
        results_version=VERSION,
        decisive=lambda wildcards: sample_plan(wildcards)["decisive"],
        z_index=lambda wildcards, threads: sample_plan(wildcards)["z_index"],
    script:
        "../../scripts/gather.py"
