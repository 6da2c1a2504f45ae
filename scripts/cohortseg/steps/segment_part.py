"""Step segment_part: the cells that one part of a scattered image gives out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cohortseg.networks import Network, use_threads
from cohortseg.segment.prepare import make_task
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.prepare import PreparedImage, read_prepared
from cohortseg.steps.progress import log_progress
from cohortseg.steps.segment import LoadNetwork, describe, log_start, write_cells
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.memory import return_large_arrays
from cohortseg.stores.source import PageSelection
from cohortseg.stores.tables import write_json
from cohortseg.tiling import Part


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""
    index, count = int(snakemake.wildcards.part), int(snakemake.wildcards.parts)

    def step() -> None:
        use_threads(snakemake.threads)
        settings = load_block(SegmentSettings, snakemake.params.settings)
        segment_part(
            image_of(snakemake),
            Path(snakemake.output.polygons),
            Path(snakemake.output.metadata),
            Network.of,
            settings,
            read_prepared(Path(snakemake.input.prepared)),
            part=Part(index - 1, count),
            on_progress=log_progress(),
        )

    run_job(snakemake, step, part=f"{index}-of-{count}")


def segment_part(
    image: Location,
    polygons: Path,
    metadata: Path,
    load_network: LoadNetwork,
    settings: SegmentSettings,
    prepared: PreparedImage,
    *,
    part: Part,
    on_progress: Callable[[Tally], None],
) -> None:
    """Segment a part of an image file into `polygons`, whose `cell_id` counts from 1, and `metadata`."""
    tally, diameter = Tally(), prepared.measured.diameter
    return_large_arrays()
    with open_image(image, PageSelection.of(settings)) as source:
        settings = settings.resolved(prepared.modality.name)
        network = load_network(settings)
        task = make_task(source, network, settings, prepared.measured)
        log_start(task, diameter, f"part {part.index + 1} of {part.count}")
        with tally.timed("total"):
            audit = write_cells(task, polygons, tally, on_progress, part)
        facts = describe(task, network, diameter, prepared.modality, tally)
    write_json(metadata, {**facts, "seam_audit_state": audit.state()})
