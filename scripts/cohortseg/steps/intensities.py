"""Step intensities: an image in, the percentiles of its inputs out, for `normalise.policy: cohort`."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cohortseg.errors import CohortsegError
from cohortseg.networks import Network, use_threads
from cohortseg.segment.inputs import choose_channels
from cohortseg.segment.intensities import measure_intensities
from cohortseg.segment.modality import choose_modality
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.segment import LoadNetwork, keep_decoded
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.source import PageSelection
from cohortseg.stores.tables import write_json

_LOGGER = logging.getLogger("cohortseg")


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        use_threads(snakemake.threads)
        settings = load_block(SegmentSettings, snakemake.params.settings)
        measure_file(
            image_of(snakemake),
            Path(snakemake.output.intensities),
            Network.of,
            settings,
            sample=snakemake.params.sample,
        )

    run_job(snakemake, step)


def measure_file(
    image: Location, intensities: Path, load_network: LoadNetwork, settings: SegmentSettings, *, sample: str
) -> None:
    """Write the percentiles of each input of an image file.

    An image that cannot be read is written down as such, with a warning: it must not keep the cohort from its medians,
    and fails where it is segmented. The network only tells how many inputs there are; no GPU is needed.
    """
    content: dict[str, Any] = {"sample": sample, "error": None, "inputs": []}
    try:
        with open_image(image, PageSelection.of(settings)) as source:
            keep_decoded(source, intensities.parent, settings)
            settings = settings.resolved(choose_modality(source, settings).name)
            on_cpu = settings.model_copy(update={"device": "cpu", "backend": "auto", "precision": "auto"})
            mix = choose_channels(source, settings.channels, load_network(on_cpu).n_inputs)
            content["inputs"] = [asdict(each) for each in measure_intensities(source, mix, settings)]
    except CohortsegError as error:
        content["error"] = str(error)
        _LOGGER.warning("%s is left out of the cohort's intensities: %s", sample, error)
    write_json(intensities, content)
