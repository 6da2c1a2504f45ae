# Cells of one image, as polygons.


rule segment:
    input:
        image=sample_file("image"),
        checkpoint=sample_file("model_path"),
        size_model=sample_file("size_model_path"),
        intensities=cohort_intensities,
    output:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
    log:
        "logs/segment/{sample}.log",
    benchmark:
        "benchmarks/segment/{sample}.tsv"
    wildcard_constraints:
        sample=rf"(?!(?:{one_of(SCATTERED)})/){SAMPLE_PATTERN}",
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
        z_index=lambda wildcards, threads: sample_plan(wildcards)["z_index"],
    script:
        "../../scripts/segment.py"
