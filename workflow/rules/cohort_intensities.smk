# The percentiles of all images, their medians, and how far each image is from them.


rule cohort_intensities:
    input:
        intensities=expand(f"{RESULTS}/{{sample}}/intensities.json", sample=PLAN["samples"]),
    output:
        intensities=f"{COHORT}/intensities.tsv",
    log:
        "logs/cohort_intensities/cohort.log",
    benchmark:
        "benchmarks/cohort_intensities/cohort.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        results_version=VERSION,
    script:
        "../../scripts/cohort_intensities.py"
