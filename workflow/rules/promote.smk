# The trained network against the one in use, on the training sheet's images of split test. The better one is in use
# afterwards: that file is no output of the rule, since Snakemake would delete it before it is compared with.


rule promote:
    input:
        checkpoint=rules.fit.output.checkpoint,
        record=rules.fit.output.record,
        sheet=training_file("sheet"),
        images=training_file("test_images"),
    output:
        decision=f"{TRAINED}/promotion.json",
        scores=f"{TRAINED}/scores.tsv",
        summary=f"{TRAINED}/scores_summary.tsv",
        curves=report(
            f"{TRAINED}/scores.png",
            caption="../report/scores.rst",
            category="Training",
            labels={"what": "average precision"},
        ),
    log:
        "logs/promote/network.log",
    benchmark:
        "benchmarks/promote/network.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=int(PLAN["settings"]["device"] != "cpu"),
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        results_version=VERSION,
        training=training_value("promotion"),
        # A function of `threads` is no reason to rerun: the device and the workers do not change the result.
        segment=lambda wildcards, threads: PLAN["training"]["segment"],
    script:
        "../../scripts/promote.py"
