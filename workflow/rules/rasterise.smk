# Label image of one sample, as an OME-Zarr pyramid, and in other forms where the config asks for them.

OTHER_MASKS = {
    "tiff": f"{RESULTS}/{{sample}}/mask.tif",
    "boundaries": directory(f"{RESULTS}/{{sample}}/boundaries.zarr"),
}
# As plain text: expand takes no pattern that is flagged as a directory.
MORE_MASKS = expand(
    [f"{file}" for name, file in OTHER_MASKS.items() if PLAN["settings"]["rasterise"][name]], sample=SAMPLES
)


rule rasterise:
    input:
        polygons=f"{RESULTS}/{{sample}}/polygons.parquet",
        metadata=f"{RESULTS}/{{sample}}/metadata.json",
    output:
        **{name: file for name, file in OTHER_MASKS.items() if PLAN["settings"]["rasterise"][name]},
        mask=directory(f"{RESULTS}/{{sample}}/mask.zarr"),
    log:
        "logs/rasterise/{sample}.log",
    benchmark:
        "benchmarks/rasterise/{sample}.tsv"
    group:
        "cells"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        sample="{sample}",
        results_version=VERSION,
        settings={"rasterise": PLAN["settings"]["rasterise"]},
    script:
        "../../scripts/rasterise.py"
