# The percentiles of one image, for `normalise.policy: cohort`.


rule intensities:
    input:
        image=sample_file("image"),
        checkpoint=sample_file("model_path"),
    output:
        intensities=f"{RESULTS}/{{sample}}/intensities.json",
    log:
        "logs/intensities/{sample}.log",
    benchmark:
        "benchmarks/intensities/{sample}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        sample="{sample}",
        results_version=VERSION,
        decisive=lambda wildcards: sample_plan(wildcards)["decisive"],
        # Functions of `threads` are no reason to rerun: the device and the workers do not change the result.
        settings=lambda wildcards, threads: sample_plan(wildcards)["segment"],
        url=lambda wildcards, threads: sample_plan(wildcards)["url"],
    script:
        "../../scripts/intensities.py"
