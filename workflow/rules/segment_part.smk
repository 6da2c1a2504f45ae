# Cells of one part of a scattered image.


rule segment_part:
    input:
        image=sample_file("image"),
        checkpoint=sample_file("model_path"),
        size_model=sample_file("size_model_path"),
        prepared=f"{RESULTS}/{{sample}}/prepared.json",
    output:
        polygons=temp(f"{RESULTS}/{{sample}}/part-{{index}}-of-{{count}}.parquet"),
        metadata=temp(f"{RESULTS}/{{sample}}/part-{{index}}-of-{{count}}.json"),
    log:
        "logs/segment_part/{sample}.{index}-of-{count}.log",
    benchmark:
        "benchmarks/segment_part/{sample}.{index}-of-{count}.tsv"
    wildcard_constraints:
        index=r"[1-9][0-9]*",
        count=r"[1-9][0-9]*",
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=needs_gpu,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        results_version=VERSION,
        decisive=lambda wildcards: sample_plan(wildcards)["decisive"],
        # Functions of `threads` are no reason to rerun: the device and the workers do not change the result.
        settings=lambda wildcards, threads: sample_plan(wildcards)["segment"],
    script:
        "../../scripts/segment_part.py"
