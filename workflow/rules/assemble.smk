# Order of the planes of one stack, as configs.yml.


rule assemble:
    input:
        metadata=of_planes("metadata.json"),
    output:
        configs=f"{RESULTS}/stacks/{{stack}}/configs.yml",
    log:
        "logs/assemble/{stack}.log",
    benchmark:
        "benchmarks/assemble/{stack}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        stack="{stack}",
        results_version=VERSION,
        planes=stack_planes,
    script:
        "../../scripts/assemble.py"
