# One target for each capability: `snakemake masks`, `snakemake stacks`, ...; `report` and `compare` are rules
# of their own.


localrules:
    polygons,
    masks,
    cells,
    stacks,
    evaluations,
    exports,
    train,


rule polygons:
    input:
        POLYGONS + BATCHES,


rule masks:
    input:
        MASKS + MORE_MASKS + BATCHES,


rule cells:
    input:
        CELLS + MORE_TABLES + BATCHES,


rule stacks:
    input:
        STACKS + BATCHES,


rule evaluations:
    input:
        EVALUATIONS + BATCHES + COHORT_EVALUATION,


rule exports:
    input:
        EXPORTS + COHORT_EXPORTS + BATCHES,


rule train:
    input:
        f"{TRAINED}/promotion.json",
