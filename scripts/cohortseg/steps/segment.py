"""Step segment: an image in, its cells as polygons.parquet and what was done as metadata.json out."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cohortseg import __version__
from cohortseg.networks import Network, use_threads
from cohortseg.segment.audit import SeamAudit
from cohortseg.segment.diameter import Diameter
from cohortseg.segment.modality import Modality, choose_modality
from cohortseg.segment.prepare import make_task, prepare
from cohortseg.segment.stream import Task, seam_lines, stream_cells
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.steps.cohort_intensities import settled
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.progress import log_progress
from cohortseg.steps.provenance import code_facts
from cohortseg.stores.checksum import Checksum, checksum_beside
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.memory import return_large_arrays
from cohortseg.stores.polygons import PolygonWriter
from cohortseg.stores.source import ImageSource, PageSelection
from cohortseg.stores.tables import write_json
from cohortseg.tiling import WHOLE, Part

LoadNetwork = Callable[[SegmentSettings], Network]
"""Gives the network that the settings of a segmentation name, such as `Network.of`."""

_LOGGER = logging.getLogger("cohortseg")
_OF_THE_NETWORK = ("model", "model_path", "size_model_path", "device", "backend", "precision")
_PACKAGES = ("torch", "openvino", "numpy", "numba", "tifffile", "zarr", "shapely", "pyarrow")


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""
    run(snakemake, Network.of)


def run(snakemake: Any, load_network: LoadNetwork) -> None:
    """Run the step as one of several in a process, with networks that may be there already."""

    def step() -> None:
        use_threads(snakemake.threads)
        settings = load_block(SegmentSettings, snakemake.params.settings)
        settings = settled(settings, snakemake.params.sample, list(snakemake.input.intensities))
        segment_file(
            image_of(snakemake),
            Path(snakemake.output.polygons),
            Path(snakemake.output.metadata),
            load_network,
            settings,
            sample=snakemake.params.sample,
            z_index=snakemake.params.z_index,
            on_progress=log_progress(),
        )

    run_job(snakemake, step, supersedes=("prepare", "segment_part", "gather"))


def loader() -> LoadNetwork:
    """Return what loads each network once, whatever else the settings of an image say."""
    loaded: dict[tuple[Any, ...], Network] = {}

    def load(settings: SegmentSettings) -> Network:
        sized = settings.diameter is not None or settings.diameter_um is not None  # else a size model comes along
        key = sized, *(getattr(settings, name) for name in _OF_THE_NETWORK)
        if key not in loaded:
            loaded[key] = Network.of(settings)
        return loaded[key]

    return load


def segment_file(
    image: Location,
    polygons: Path,
    metadata: Path,
    load_network: LoadNetwork,
    settings: SegmentSettings,
    *,
    sample: str,
    z_index: int | None,
    on_progress: Callable[[Tally], None],
) -> Tally:
    """Segment one image file into `polygons` and `metadata`, and return what was counted.

    The image is opened first, since its modality may decide what network is loaded, and with what settings it runs.
    """
    tally = Tally()
    return_large_arrays()
    with open_image(image, PageSelection.of(settings)) as source, checksum_beside(image) as checksum:
        keep_decoded(source, polygons.parent, settings)
        modality = tell_modality(source, settings, sample, tally)
        settings = settings.resolved(modality.name)
        warn_of_unused(source, settings, sample)
        network = load_network(settings)
        with tally.timed("total"):
            prepared = prepare(source, network, settings, tally)
            task = make_task(source, network, settings, prepared)
            log_start(task, prepared.diameter, sample)
            audit = write_cells(task, polygons, tally, on_progress)
        facts = describe(task, network, prepared.diameter, modality, tally)
        told = describe_checksum(checksum.result())
    facts = {"sample": sample, "z_index": z_index, **facts, "image_checksum": told, "seam_audit": audit.result()}
    write_json(metadata, facts)
    log_outcome(facts)
    return tally


def keep_decoded(source: ImageSource, folder: Path, settings: SegmentSettings) -> None:
    """Have each tile of an image that is about to be read several times decoded once, as far as the settings allow."""
    limit_bytes = round(settings.pipeline.scratch_gb * 1e9)
    if limit_bytes:
        folder.mkdir(parents=True, exist_ok=True)
        source.use_scratch(folder, limit_bytes)


def tell_modality(source: ImageSource, settings: SegmentSettings, sample: str, tally: Tally) -> Modality:
    """Return the modality of an image, and say what it is; a guess that may be wrong is a warning."""
    with tally.timed("modality"):
        modality = choose_modality(source, settings)
    if modality.uncertain:
        _LOGGER.warning(
            "%s: modality uncertain: %s, confidence %.2f; set modality in the sheet or the config",
            sample, modality.name, modality.confidence,
        )  # fmt: skip
    elif modality.confidence is not None:
        _LOGGER.info("%s: modality %s, confidence %.2f", sample, modality.name, modality.confidence)
    return modality


def write_cells(
    task: Task, polygons: Path, tally: Tally, on_progress: Callable[[Tally], None], part: Part = WHOLE
) -> SeamAudit:
    """Segment an image, or a part of it, into polygons, and return what their outlines tell of seams."""
    audit = SeamAudit(seam_lines(task), task.source.shape)
    with PolygonWriter(polygons, shape=task.source.shape) as writer:
        for table in stream_cells(task, tally, on_progress, part):
            with tally.timed("write"):
                writer.append(table)
                audit.add(table)
    return audit


def log_start(task: Task, diameter: Diameter, sample: str) -> None:
    """Say what is about to be segmented, and how."""
    _LOGGER.info(
        "%s: %d x %d px, channels %s, diameter %.1f px (%s)",
        sample, *task.source.shape, ", ".join(task.mix.names), diameter.diameter_px, diameter.origin,
    )  # fmt: skip


def log_outcome(facts: Mapping[str, Any]) -> None:
    """Say what metadata.json holds of a finished segmentation, and warn of what needs a look."""
    sample, counts = facts["sample"], facts["counts"]
    _LOGGER.info("%s: %d cells in %.1f s", sample, counts["cells"], facts["seconds"]["total"])
    if counts["cells"] == 0:
        _LOGGER.warning("%s: no cells were found", sample)
    if counts["cells_cut"]:
        _LOGGER.warning("%s: %d cells are larger than the windows see around them", sample, counts["cells_cut"])
    for finding in facts["seam_audit"]["findings"]:
        _LOGGER.warning("%s: %s", sample, finding)


def warn_of_unused(source: ImageSource, settings: SegmentSettings, sample: str) -> None:
    """Say what of the file is not looked at, where the settings do not choose it."""
    if source.n_planes > 1 and settings.plane is None:
        _LOGGER.warning("%s: the first of %d planes is segmented; set plane for another", sample, source.n_planes)
    if settings.channels is None and len(source.channels) > 1 and not source.is_rgb:
        names = ", ".join(source.channels)
        _LOGGER.warning("%s: the first of its channels (%s) is segmented; set channels for others", sample, names)


def describe(task: Task, network: Network, diameter: Diameter, modality: Modality, tally: Tally) -> dict[str, Any]:
    """Return what metadata.json says of a finished segmentation."""
    source, settings = task.source, task.settings
    return {
        **_describe_image(source, settings),
        "scale": task.geometry.scale,
        "diameter": {"px": diameter.diameter_px, "origin": diameter.origin, "n_cells": diameter.n_cells},
        "channels": list(task.mix.names),
        "channel_indices": list(task.mix.channels),
        "inputs": [asdict(group) for group in task.mix.groups],
        "normalisation": {"lower": list(task.normalisation.lower), "upper": list(task.normalisation.upper)},
        "model": {"name": settings.model, **network.weights.paths(), "sha256": network.sha256},
        "modality": modality.name,
        "modality_choice": {
            "origin": modality.origin,
            "confidence": modality.confidence,
            "features": modality.features,
        },
        "invert": settings.invert,
        "settings": settings.model_dump(mode="json"),
        "device": network.device_name,
        "backend": network.backend,
        "precision": network.precision,
        "counts": tally.counts(),
        "seconds": tally.seconds_s,
        "peak_memory_bytes": tally.peak_memory_bytes,
        "code": code_facts(),
        "versions": {"cohortseg": __version__} | {name: version(name) for name in _PACKAGES},
    }


def describe_checksum(checksum: Checksum | None) -> dict[str, Any] | None:
    """Return what metadata.json says of the bytes of an image: None of one behind a URL, which is not hashed."""
    return None if checksum is None else asdict(checksum)


def _describe_image(source: ImageSource, settings: SegmentSettings) -> dict[str, Any]:
    return {
        "image": str(source.path),
        "format": source.format,
        "shape": list(source.shape),
        "mask_shape": list(source.shape),
        "dtype": str(source.dtype),
        "image_channels": list(source.channels),
        "page": settings.plane or 0,
        "n_planes": source.n_planes,
        "pixel_size_um": source.pixel_size_um,
        "z_step_um": source.z_step_um,
        "z_place": source.z_place,
    }
