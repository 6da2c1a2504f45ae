"""What is written for other programs."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from cohortseg.settings.blocks import each_once
from cohortseg.settings.fields import FrozenModel, as_tuple, setting

ExportFormat = Literal["anndata", "spatialdata", "geojson", "xenium", "imagej"]

EXPORT_FILES: dict[ExportFormat, str] = {
    "anndata": "cells.h5ad",
    "spatialdata": "spatialdata.zarr",
    "geojson": "cells.geojson",
    "xenium": "xenium.geojson",
    "imagej": "rois.zip",
}
"""The file, or folder, of each format, in `results/<sample>/exports`."""


class ExportSettings(FrozenModel):
    """What is written for other programs."""

    formats: Annotated[tuple[ExportFormat, ...], BeforeValidator(as_tuple), AfterValidator(each_once)] = setting(
        (),
        "What is written of every sample for other programs: anndata, spatialdata, geojson, xenium, imagej. Any of "
        "them can also be asked for by name, whatever this says.",
    )
    spatialdata_image: bool = setting(
        True,
        "Copy the image into spatialdata.zarr, with a pyramid; false: only where the image lies and its checksum.",
    )

    def files(self) -> list[str]:
        """Return the files of the formats, in their order."""
        return [EXPORT_FILES[name] for name in self.formats]
