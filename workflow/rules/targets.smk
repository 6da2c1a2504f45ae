# One target for each capability: `snakemake masks`, `snakemake stacks`, ...; `report` and `compare` are rules
# of their own.


localrules:
    polygons,
    masks,
    cells,
    stacks,
    evaluations,
    train,


rule polygons:
    input:
        POLYGONS,


rule masks:
    input:
        MASKS,


rule cells:
    input:
        CELLS,


rule stacks:
    input:
        STACKS,


rule evaluations:
    input:
        EVALUATIONS + COHORT_EVALUATION,


rule train:
    input:
        f"{TRAINED}/promotion.json",
