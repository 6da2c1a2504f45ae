"""The command `cohortseg export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """Files for other programs."""

    anndata = "anndata"
    spatialdata = "spatialdata"
    geojson = "geojson"
    xenium = "xenium"
    imagej = "imagej"


def export(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders with polygons.parquet, or with such folders.", metavar="FOLDER...")
    ],
    formats: Annotated[list[Format], typer.Option("--format", help="What to write; may be given several times.")],
    output: Annotated[
        Path | None, typer.Option(help="Where a folder for each sample goes. Default: exports beside the polygons.")
    ] = None,
    image: Annotated[bool, typer.Option(help="Copy the image into spatialdata.zarr.")] = True,
) -> None:
    """Write results as AnnData, SpatialData, or outlines for QuPath, Xenium Ranger and ImageJ."""
    from cohortseg.settings import EXPORT_FILES
    from cohortseg.steps.export_folders import export_folders

    chosen = [name for name in EXPORT_FILES if Format(name) in formats]
    for line in export_folders(folders, chosen, output, Path(), with_image=image):
        print(line, flush=True)
