# What the parts of a scattered image share: percentiles and diameter.


rule prepare:
    input:
        image=sample_file("image"),
        checkpoint=sample_file("model_path"),
        size_model=sample_file("size_model_path"),
        intensities=cohort_intensities,
    output:
        prepared=temp(f"{RESULTS}/{{sample}}/prepared.json"),
    log:
        "logs/prepare/{sample}.log",
    benchmark:
        "benchmarks/prepare/{sample}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=needs_gpu,
        mem_mb=segmenting_mb,
        runtime=segmenting_minutes,
    params:
        sample="{sample}",
        results_version=VERSION,
        decisive=lambda wildcards: sample_plan(wildcards)["decisive"],
        # Functions of `threads` are no reason to rerun: the device and the workers do not change the result.
        settings=lambda wildcards, threads: sample_plan(wildcards)["segment"],
        url=lambda wildcards, threads: sample_plan(wildcards)["url"],
    script:
        "../../scripts/prepare.py"
