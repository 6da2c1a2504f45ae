# A network trained on the training sheet's images of split train.


rule fit:
    input:
        sheet=training_file("sheet"),
        start=training_file("start"),
        images=training_file("train_images"),
    output:
        checkpoint=f"{TRAINED}/model.pt",
        record=f"{TRAINED}/model.json",
        losses=f"{TRAINED}/loss.tsv",
        curve=report(
            f"{TRAINED}/loss.png",
            caption="../report/loss.rst",
            category="Training",
            labels={"what": "losses"},
        ),
    log:
        "logs/fit/network.log",
    benchmark:
        "benchmarks/fit/network.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=int(PLAN["settings"]["device"] != "cpu"),
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
    params:
        results_version=VERSION,
        settings=training_value("settings"),
        # A function of `threads` is no reason to rerun.
        device=lambda wildcards, threads: PLAN["settings"]["device"],
    script:
        "../../scripts/fit.py"
