# Several small images, and their stacks, from segmentation to measurements in one job: `batch` in the config. What is
# made of each image is no output that Snakemake knows, so that one bad image does not cost the others theirs.


rule batch:
    input:
        images=of_batch("image"),
        labels=of_batch("labels"),
        checkpoints=of_batch("model_path"),
        size_models=of_batch("size_model_path"),
    output:
        manifest=f"{COHORT}/batches/{{batch}}.{{number}}.json",
    log:
        "logs/batch/{batch}.{number}.log",
    benchmark:
        "benchmarks/batch/{batch}.{number}.tsv"
    wildcard_constraints:
        batch=r"\d+",
        number=r"\d+",
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=batch_needs_gpu,
        mem_mb=segmenting_mb,
        runtime=segmenting_minutes,
    params:
        batch="{batch}",
        results_version=VERSION,
        samples=lambda wildcards: batch_plan(wildcards)["samples"],
        stacks=lambda wildcards: batch_plan(wildcards)["stacks"],
        decisive=batch_decisive,
        # A function of `threads` is no reason to rerun: `decisive` holds what decides the results.
        plan=lambda wildcards, threads: plan_of_batch(wildcards),
    script:
        "../../scripts/batch.py"
