"""Step export: polygons.parquet and cells.parquet in, one file for another program out."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohortseg.errors import ImageError
from cohortseg.exports import CellSource, write_anndata, write_geojson, write_rois, write_spatialdata, write_xenium
from cohortseg.exports.spatialdata import Pixels
from cohortseg.settings import EXPORT_FILES, ExportFormat, SegmentSettings, load_block
from cohortseg.steps.job import image_of, run_job
from cohortseg.steps.planes import label_reader, read_metadata
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.source import ImageSource, PageSelection

_WRITERS = {
    "anndata": write_anndata,
    "geojson": write_geojson,
    "xenium": write_xenium,
    "imagej": write_rois,
}


@dataclass(frozen=True)
class Exported:
    """What an export is made from.

    Parameters
    ----------
    source
        The cells.
    shape
        (y, x) of their image.
    image
        Where the image lies that is copied into SpatialData; None for none.
    """

    source: CellSource
    shape: tuple[int, int]
    image: Location | None


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""
    output = Path(snakemake.output[0])

    def step() -> None:
        facts, shape = read_metadata(Path(snakemake.input.metadata))
        source = CellSource(snakemake.params.sample, Path(snakemake.input.polygons), Path(snakemake.input.cells), facts)
        image = image_of(snakemake) if snakemake.params.settings["image"] else None
        export_file(output, Exported(source, shape, image), workers=snakemake.threads)

    run_job(snakemake, step, part=output.name)


def export_file(output: Path, exported: Exported, *, workers: int) -> None:
    """Write one of `EXPORT_FILES`, of the format that its name says.

    Raises
    ------
    MissingExtraError
        A library is not installed.
    TableError
        A table is damaged, or states too little for this format.
    ImageError
        The image that is copied cannot be read, or has another shape than when it was segmented.
    """
    chosen = format_of(output)
    if chosen != "spatialdata":
        _WRITERS[chosen](output, exported.source)
        return
    with ExitStack() as opened:
        image = None if exported.image is None else opened.enter_context(_open_image(exported.image, exported))
        pixels = Pixels(exported.shape, label_reader(exported.source.polygons), image)
        write_spatialdata(output, exported.source, pixels, workers=workers)


def format_of(output: Path) -> ExportFormat:
    """Return the format of a file, by its name."""
    return next(chosen for chosen, name in EXPORT_FILES.items() if name == output.name)


def _open_image(location: Location, exported: Exported) -> ImageSource:
    settings = load_block(SegmentSettings, exported.source.metadata["settings"])
    image = open_image(location, PageSelection.of(settings))
    if image.shape != exported.shape:
        image.close()
        raise ImageError(
            f"{location.name} is {image.shape[0]} x {image.shape[1]} px now",
            f"it was {exported.shape[0]} x {exported.shape[1]} px when it was segmented",
            "Segment it again.",
        )
    return image
