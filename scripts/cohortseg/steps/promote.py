"""Step promote: a trained network in; it takes the place of the one in use if it scores better on the test images."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.evaluate.tables import Scored, summarise_scores, tabulate
from cohortseg.networks import Network, load_checkpoint
from cohortseg.report import curves_png
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.settings.training import TrainSettings
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.steps.job import run_job
from cohortseg.steps.score import Judge, score_all
from cohortseg.steps.training import find_start, samples_of_split
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.tables import write_bytes, write_json, write_tsv

_NEW, _OLD = "new", "old"


@dataclass(frozen=True)
class Promotion:
    """What decides over a newly trained network.

    Attributes
    ----------
    checkpoint
        The new network, its record beside it.
    in_use
        Where the network in use is, or will be.
    train
        How the new one was trained.
    segment
        How images are segmented, besides the network and the diameter.
    """

    checkpoint: Path
    in_use: Path
    train: TrainSettings
    segment: SegmentSettings


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        training = snakemake.params.training
        promotion = Promotion(
            Path(snakemake.input.checkpoint),
            Path(training["promote_to"]) / f"{training['name']}.pt",
            load_block(TrainSettings, training["settings"]),
            load_block(SegmentSettings, snakemake.params.segment),
        )
        samples = samples_of_split(Path(snakemake.input.sheet), "test")
        scores, decision = decide(promotion, samples, logging.getLogger("cohortseg").info)
        summary = summarise_scores(scores)
        write_tsv(Path(snakemake.output.scores), tabulate(scores))
        write_tsv(Path(snakemake.output.summary), summary)
        write_bytes(Path(snakemake.output.curves), curves_png(summary))
        write_json(Path(snakemake.output.decision), decision)

    run_job(snakemake, step)


def decide(
    promotion: Promotion, samples: Sequence[TrainingSample], say: Callable[[str], None]
) -> tuple[list[Scored], dict[str, Any]]:
    """Score the new network and the old one, and put the new one in use if its mean AP@0.5 is higher.

    The old one is the network in use; where there is none, the one that the training started from. With neither, the
    new one is put in use. Images are segmented with their true median diameter, so that the networks are compared and
    not the estimates.

    Returns
    -------
    tuple
        The scores of all images, and the decision as `promotion.json` holds it.
    """
    old = _old_checkpoint(promotion)
    new_scores = _score(promotion, promotion.checkpoint, _NEW, samples, say)
    old_scores = [] if old is None else _score(promotion, old, _OLD, samples, say)
    new_ap, old_ap = _mean_ap(new_scores), _mean_ap(old_scores) if old_scores else None
    promoted = old_ap is None or new_ap > old_ap
    if promoted:
        promotion.in_use.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".json", ".pt"):
            with atomic_path(promotion.in_use.with_suffix(suffix)) as temporary:
                shutil.copyfile(promotion.checkpoint.with_suffix(suffix), temporary)
    than = "no other network is in use" if old_ap is None else f"that of {old} has {old_ap:.4f}"
    outcome = f"put in use as {promotion.in_use}" if promoted else "not put in use"
    say(f"AP@0.5 of the new network is {new_ap:.4f}, {than}: {outcome}")
    return new_scores + old_scores, {
        "promoted": promoted,
        "in_use": str(promotion.in_use),
        "images": len(samples),
        "new": {"sha256": load_checkpoint(promotion.checkpoint).sha256, "ap_50": new_ap},
        "old": None if old is None else {"path": str(old), "sha256": load_checkpoint(old).sha256, "ap_50": old_ap},
    }


def _old_checkpoint(promotion: Promotion) -> Path | None:
    if promotion.in_use.is_file():
        return promotion.in_use
    return None if promotion.train.start_from is None else find_start(promotion.train.start_from)


def _score(
    promotion: Promotion, checkpoint: Path, name: str, samples: Sequence[TrainingSample], say: Callable[[str], None]
) -> list[Scored]:
    # The table of modalities is for the networks in use: what an image needs of it, its kind in the sheet says here.
    said = {"model": name, "model_path": str(checkpoint), "size_model_path": None, "modality": "fluorescence"}
    unsaid = {"diameter": None, "channels": None, "invert": False}
    settings = load_block(SegmentSettings, promotion.segment.overriding(said | unsaid))
    judge = Judge(name, Network.of(settings), settings, promotion.train.inverted_kinds)
    return score_all(judge, samples, say)


def _mean_ap(scores: Sequence[Scored]) -> float:
    return float(np.mean([score.counts.scores()["ap"][0] for score in scores]))
