# Cells of two planes of a stack that share pixels. Pairs of planes are independent jobs.


rule overlaps:
    input:
        polygons=of_pair("polygons.parquet"),
        metadata=of_pair("metadata.json"),
    output:
        overlaps=f"{RESULTS}/stacks/{{stack}}/overlaps/{{lower_z}}_{{upper_z}}.parquet",
    log:
        "logs/overlaps/{stack}.{lower_z}_{upper_z}.log",
    benchmark:
        "benchmarks/overlaps/{stack}.{lower_z}_{upper_z}.tsv"
    wildcard_constraints:
        lower_z=r"-?\d+",
        upper_z=r"-?\d+",
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        pair="{lower_z}_{upper_z}",
        results_version=VERSION,
    script:
        "../../scripts/overlaps.py"
