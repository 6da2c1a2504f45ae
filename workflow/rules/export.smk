# The cells of one sample as a file for another program: those of `export.formats`, and any other that is asked for by
# its name.


rule export:
    input:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
        cells=f"{RESULTS}/{{sample}}/cells.parquet",
    output:
        file=f"{RESULTS}/{{sample}}/exports/{{file}}",
    log:
        "logs/export/{sample}.{file}.log",
    benchmark:
        "benchmarks/export/{sample}.{file}.tsv"
    wildcard_constraints:
        file=r"cells\.h5ad|cells\.geojson|xenium\.geojson|rois\.zip",
    conda:
        "../../envs/exports.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        sample="{sample}",
        results_version=VERSION,
        url=None,
        settings={"image": False},
    script:
        "../../scripts/export.py"


use rule export as export_spatialdata with:
    input:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
        cells=f"{RESULTS}/{{sample}}/cells.parquet",
        image=sample_file("image") if PLAN["settings"]["export"]["spatialdata_image"] else [],
    output:
        file=directory(f"{RESULTS}/{{sample}}/exports/{{file}}"),
    wildcard_constraints:
        file=r"spatialdata\.zarr",
    threads: 4
    resources:
        mem_mb=with_cells_mb(6000, "polygons"),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        sample="{sample}",
        results_version=VERSION,
        # A function of `threads` is no reason to rerun: the metadata, an input, tell of a change.
        url=lambda wildcards, threads: sample_plan(wildcards)["url"],
        settings={"image": PLAN["settings"]["export"]["spatialdata_image"]},
