# All results with how they came about, as one RO-Crate: `snakemake archive`.

SCALED_BY_COHORT = [
    name for name, sample in PLAN["samples"].items() if sample["segment"]["normalise"]["policy"] == "cohort"
]
# Of people, not of a rule: `cohortseg view` writes it.
FLAGS = [path for path in [f"{COHORT}/flags.tsv"] if os.path.exists(path)]


rule archive:
    input:
        POLYGONS,
        METADATA,
        MASKS,
        MORE_MASKS,
        CELLS,
        MORE_TABLES,
        QUALITY,
        PICTURES,
        EXPORTS,
        COHORT_EXPORTS,
        STACKS,
        EVALUATIONS,
        COHORT_EVALUATION,
        BENCHMARKS,
        REPORT,
        BATCHES,
        [f"{COHORT}/intensities.tsv"] if SCALED_BY_COHORT else [],
        FLAGS,
    output:
        archive=f"{RESULTS}/cohort.crate.zip",
    log:
        "logs/archive/cohort.log",
    benchmark:
        "benchmarks/archive/cohort.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        results_version=VERSION,
        # A function of `threads` is no reason to rerun: what it decides is among the inputs.
        plan=lambda wildcards, threads: PLAN,
        settings={"archive": PLAN["settings"]["archive"], "title": PLAN["settings"]["report"]["title"]},
        logs="logs",
    script:
        "../../scripts/archive.py"
