# The cells of all samples as one AnnData file, where `export.formats` has anndata, or where it is asked for by its name.


rule export_cohort:
    input:
        polygons=POLYGONS,
        metadata=METADATA,
        tables=CELLS,
        batches=BATCHES,
    output:
        cells=f"{COHORT}/cells.h5ad",
    log:
        "logs/export_cohort/cohort.log",
    benchmark:
        "benchmarks/export_cohort/cohort.tsv"
    conda:
        "../../envs/exports.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        results_version=VERSION,
        results=lambda wildcards: RESULTS,
        samples=list(PLAN["samples"]),
    script:
        "../../scripts/export_cohort.py"
