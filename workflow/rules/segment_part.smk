# Cells of one part of a scattered image.


rule segment_part:
    input:
        image=sample_file("image"),
        checkpoint=sample_file("model_path"),
        size_model=sample_file("size_model_path"),
        prepared=f"{RESULTS}/{{sample}}/prepared.json",
    output:
        polygons=temp(f"{RESULTS}/{{sample}}/part-{{part}}-of-{{parts}}.parquet"),
        metadata=temp(f"{RESULTS}/{{sample}}/part-{{part}}-of-{{parts}}.json"),
    log:
        "logs/segment_part/{sample}.{part}-of-{parts}.log",
    benchmark:
        "benchmarks/segment_part/{sample}.{part}-of-{parts}.tsv"
    wildcard_constraints:
        part=r"[1-9][0-9]*",
        parts=r"[1-9][0-9]*",
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=needs_gpu,
        mem_mb=segmenting_mb,
        runtime=segmenting_minutes,
    params:
        results_version=VERSION,
        decisive=lambda wildcards: sample_plan(wildcards)["decisive"],
        # Functions of `threads` are no reason to rerun: the device and the workers do not change the result.
        settings=lambda wildcards, threads: sample_plan(wildcards)["segment"],
        url=lambda wildcards, threads: sample_plan(wildcards)["url"],
    script:
        "../../scripts/segment_part.py"
