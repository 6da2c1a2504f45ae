"""Step prepare: what all parts of a scattered image share, measured once."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cohortseg.networks import Network, use_threads
from cohortseg.segment.diameter import Diameter
from cohortseg.segment.inputs import Normalisation
from cohortseg.segment.modality import Modality
from cohortseg.segment.prepare import Prepared, prepare
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.steps.cohort_intensities import settled
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.segment import LoadNetwork, describe_checksum, keep_decoded, tell_modality, warn_of_unused
from cohortseg.stores.checksum import checksum_beside
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.source import PageSelection
from cohortseg.stores.tables import read_json, write_json


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        use_threads(snakemake.threads)
        settings = load_block(SegmentSettings, snakemake.params.settings)
        settings = settled(settings, snakemake.params.sample, list(snakemake.input.intensities))
        prepare_file(
            image_of(snakemake),
            Path(snakemake.output.prepared),
            Network.of,
            settings,
            sample=snakemake.params.sample,
        )

    run_job(snakemake, step, supersedes=("segment",))


def prepare_file(
    image: Location, prepared: Path, load_network: LoadNetwork, settings: SegmentSettings, *, sample: str
) -> None:
    """Write modality, percentiles, diameter and checksum of an image file, and what that took, to `prepared`."""
    tally = Tally()
    with open_image(image, PageSelection.of(settings)) as source, checksum_beside(image) as checksum:
        keep_decoded(source, prepared.parent, settings)
        modality = tell_modality(source, settings, sample, tally)
        settings = settings.resolved(modality.name)
        network = load_network(settings)
        warn_of_unused(source, settings, sample)
        with tally.timed("total"):
            found = prepare(source, network, settings, tally)
        told = describe_checksum(checksum.result())
    write_json(
        prepared,
        {
            "modality": asdict(modality),
            "normalisation": asdict(found.normalisation),
            "diameter": asdict(found.diameter),
            "window_px": found.window_px,
            "image_checksum": told,
            "seconds": tally.seconds_s,
            "peak_memory_bytes": tally.peak_memory_bytes,
        },
    )


@dataclass(frozen=True)
class PreparedImage:
    """What all parts of a scattered image share: the modality that its settings follow from, and what was measured."""

    modality: Modality
    measured: Prepared


def read_prepared(path: Path) -> PreparedImage:
    """Return what `prepare_file` wrote."""
    content = read_json(path)
    lower, upper = (tuple(map(float, content["normalisation"][bound])) for bound in ("lower", "upper"))
    measured = Prepared(Normalisation(lower, upper), Diameter(**content["diameter"]), content["window_px"])
    return PreparedImage(Modality(**content["modality"]), measured)
