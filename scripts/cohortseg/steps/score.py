"""How well a network segments the images that were kept apart from its training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cohortseg.evaluate.tables import Scored
from cohortseg.networks import Network
from cohortseg.settings import SegmentSettings
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.steps.evaluate import evaluate_file
from cohortseg.steps.evaluate_cohort import read_scored
from cohortseg.steps.examples import true_diameter_px
from cohortseg.steps.flagged import faulty_cells_of
from cohortseg.steps.segment import segment_file
from cohortseg.stores.tables import read_json, write_json


@dataclass(frozen=True)
class Judge:
    """Segments labelled images with one network, by the steps of the workflow, and scores what it finds.

    Attributes
    ----------
    name
        What the network is called in the tables.
    network
        Ready to run.
    settings
        Of the segmentations; the diameter and the channels are the image's.
    inverted_kinds
        Kinds of image that the network has learned inverted; None leaves that to the settings.
    """

    name: str
    network: Network
    settings: SegmentSettings
    inverted_kinds: Sequence[str] | None

    def score(self, sample: TrainingSample, diameter_px: float | None) -> Scored:
        """Return the score of an image, whose kind stands for its modality; a diameter of None is estimated."""
        settings = self.settings.model_copy(update={"diameter": diameter_px, "channels": sample.channels})
        if self.inverted_kinds is not None:
            settings = settings.model_copy(update={"invert": sample.kind in self.inverted_kinds})
        with TemporaryDirectory() as name:
            folder = Path(name)
            polygons, metadata, evaluation = folder / "polygons.parquet", folder / "metadata.json", folder / "e.json"
            segment_file(
                Path(sample.image),
                polygons,
                metadata,
                lambda _: self.network,
                settings,
                sample=sample.sample,
                z_index=None,
                on_progress=lambda _: None,
            )
            facts = read_json(metadata)
            height, width = facts["mask_shape"]
            labels, faulty = Path(sample.labels), faulty_cells_of(sample)
            write_json(evaluation, evaluate_file(polygons, labels, shape=(height, width), plane=0, faulty=faulty))
            scored = read_scored(evaluation, facts, sample=sample.sample, model=self.name)
        return replace(scored, modality=sample.kind)


def score_all(judge: Judge, samples: Sequence[TrainingSample], say: Callable[[str], None]) -> list[Scored]:
    """Return the scores of images with their true median diameter given; cells flagged as faulty do not count."""
    scores = []
    for number, sample in enumerate(samples, start=1):
        scores.append(judge.score(sample, true_diameter_px(sample)))
        ap = scores[-1].counts.scores()["ap"][0]
        say(f"{judge.name}, {number} of {len(samples)}: {sample.sample}, {sample.kind}, AP@0.5 {ap:.3f}")
    return scores
