# 3D cells of one stack: the cells of its planes, linked by the overlaps that jobs of their own found.


rule stitch:
    input:
        configs=f"{RESULTS}/stacks/{{stack}}/configs.yml",
        polygons=of_planes("polygons.parquet"),
        metadata=of_planes("metadata.json"),
        overlaps=overlaps_of_stack,
        images=images_of_planes,
    output:
        polygons3d=f"{RESULTS}/stacks/{{stack}}/3d_polygons.parquet",
        objects=f"{RESULTS}/stacks/{{stack}}/objects.parquet",
        mask3d=directory(f"{RESULTS}/stacks/{{stack}}/3d_mask.zarr"),
        link_report=f"{RESULTS}/stacks/{{stack}}/link_report.json",
        through_z=f"{RESULTS}/stacks/{{stack}}/through_z.png",
        projection=f"{RESULTS}/stacks/{{stack}}/projection.png",
    log:
        "logs/stitch/{stack}.log",
    benchmark:
        "benchmarks/stitch/{stack}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        stack="{stack}",
        results_version=VERSION,
        decisive={"stitch": PLAN["stitch_decisive"], "rasterise": PLAN["settings"]["rasterise"]},
        # A function of `threads` is no reason to rerun: the workers do not change the result.
        settings=lambda wildcards, threads: {key: PLAN["settings"][key] for key in ("stitch", "rasterise")},
    script:
        "../../scripts/stitch.py"
