# One target for each capability: `snakemake masks`, `snakemake stacks`, ...; `report` is a rule of its own.


localrules:
    polygons,
    masks,
    cells,
    stacks,
    evaluations,


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
        EVALUATIONS,
