"""The demo cohort: made images with known truth, a sample sheet and a config, ready to run."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tifffile import imwrite

from cohortseg.arrays import Labels
from cohortseg.stores.tables import write_bytes, write_png, write_tsv, write_yaml
from cohortseg.synthetic import empty_field, histology_field, nuclei_stack, two_channel_field

_SEED = 2018
_PIXEL_SIZE_UM = 0.5
_Z_STEP_UM = 2.0


@dataclass(frozen=True)
class _DemoImage:
    """One image of the cohort: its file, pixels, truth, and its row in the sheet (empty: as the config says)."""

    file: str
    pixels: NDArray[Any]
    truth: Labels
    modality: str
    diameter: str
    ome_channels: tuple[str, ...] = ()
    row: dict[str, str] = field(default_factory=dict)

    @property
    def sample(self) -> str:
        return self.file.split(".")[0]


def make_demo(directory: Path) -> list[Path]:
    """Write the demo cohort into `directory` (made if missing) and return the files, the config first.

    Five planes of one z stack, a two-channel OME-TIFF of which the channel `nucleus` is to be segmented, a
    histology-like PNG and a TIFF without cells, each with its truth as a label TIFF; under 5 MB together. Paths in the
    config are relative to `directory`: run the workflow there. Files that already hold what would be written are left
    untouched, so that a second run of the workflow has nothing to do.
    """
    with TemporaryDirectory() as made:
        files = [path.relative_to(made) for path in _write_cohort(Path(made))]
        for file in files:
            _update(directory / file, (Path(made) / file).read_bytes())
    return [directory / file for file in files]


def _update(path: Path, content: bytes) -> None:
    """Write a file unless it holds this content already."""
    if not (path.is_file() and path.read_bytes() == content):
        write_bytes(path, content)


def _write_cohort(directory: Path) -> list[Path]:
    """Write the cohort into an empty folder and return the files, the config first."""
    images = list(_demo_images())
    written = [path for image in images for path in _write_image(directory, image)]
    sheet, config = directory / "samples.tsv", directory / "config.yaml"
    write_tsv(sheet, pd.DataFrame([_sheet_row(image) for image in images]))
    settings: dict[str, Any] = {
        "samples": sheet.name,
        "results": "results",
        "stitch": {"z_step_um": _Z_STEP_UM},
        "report": {"title": "cohortseg demo"},
    }
    write_yaml(config, settings)
    return [config, sheet, *written]


def _demo_images() -> Iterator[_DemoImage]:
    """Yield the images of the cohort, in the order of the sheet."""
    stack, stack_truth = nuclei_stack(_SEED)
    for z, (plane, truth) in enumerate(zip(stack, stack_truth, strict=True)):
        row = {"stack": "demo", "z_index": str(z)}
        yield _DemoImage(f"demo_z{z}.tif", plane, truth, "fluorescence", diameter="22", row=row)
    field_image, field_truth = two_channel_field(_SEED + 1)
    row = {"channels": "nucleus"}
    names = ("membrane", "nucleus")
    yield _DemoImage("two_channel.ome.tif", field_image, field_truth, "fluorescence", "22", ome_channels=names, row=row)
    section, section_truth = histology_field(_SEED + 2)
    yield _DemoImage("histology.png", section, section_truth, "histology", diameter="20")
    empty, empty_truth = empty_field(_SEED + 3)
    yield _DemoImage("empty.tif", empty, empty_truth, "fluorescence", diameter="22")


def _sheet_row(image: _DemoImage) -> dict[str, str]:
    """Return an image's row of the sample sheet, with every column."""
    row = {
        "sample": image.sample,
        "image": f"images/{image.file}",
        "stack": "",
        "z_index": "",
        "channels": "",
        "diameter": image.diameter,
        "pixel_size_um": f"{_PIXEL_SIZE_UM:g}",
        "modality": image.modality,
        "labels": f"labels/{image.sample}.tif",
    }
    return row | image.row


def _write_image(directory: Path, image: _DemoImage) -> tuple[Path, Path]:
    """Write an image and its truth, and return their files."""
    pixels_path = directory / "images" / image.file
    truth_path = directory / "labels" / f"{image.sample}.tif"
    if pixels_path.suffix == ".png":
        write_png(pixels_path, image.pixels)
    else:
        _write_tiff(pixels_path, image.pixels, image.ome_channels)
    _write_tiff(truth_path, image.truth.astype(np.uint16), ())
    return pixels_path, truth_path


def _write_tiff(path: Path, pixels: NDArray[Any], ome_channels: tuple[str, ...]) -> None:
    """Write a tiled TIFF of (y, x), or an OME-TIFF of (channel, y, x) with the channels' names and the pixel size."""
    ome = {
        "axes": "CYX",
        # Fixed, so that writing the demo again gives the same bytes.
        "UUID": uuid5(NAMESPACE_URL, path.name).urn,
        "Channel": {"Name": list(ome_channels)},
        "PhysicalSizeX": _PIXEL_SIZE_UM,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": _PIXEL_SIZE_UM,
        "PhysicalSizeYUnit": "µm",
    }
    file = io.BytesIO()
    imwrite(
        file,
        pixels,
        ome=bool(ome_channels),
        metadata=ome if ome_channels else None,
        photometric="minisblack",
        tile=(128, 128),
        compression="zlib",
        compressionargs={"level": 9},
        predictor=True,
    )
    write_bytes(path, file.getvalue())
