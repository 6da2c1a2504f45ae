"""The distance of planes along z, and where a plane is along it, as files of each format say it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from pylibCZIrw import czi

from cohortseg.stores.images import FIRST_PAGE, open_image

STACK = np.zeros((2, 3, 20, 30), np.uint8)
"""(t, z, y, x)."""


def ome_tiff(folder: Path, axes: str = "TZYX", **sizes: Any) -> Path:
    tifffile.imwrite(folder / "a.ome.tif", STACK, ome=True, metadata={"axes": axes, **sizes})
    return folder / "a.ome.tif"


def imagej(folder: Path, **metadata: Any) -> Path:
    tifffile.imwrite(folder / "a.tif", STACK, imagej=True, metadata={"axes": "TZYX", **metadata})
    return folder / "a.tif"


def ome_zarr(folder: Path, unit: str | None) -> Path:
    group = zarr.create_group(folder / "a.zarr")
    group.create_array("0", data=STACK, chunks=(1, 1, 20, 30))
    units = {} if unit is None else {"unit": unit}
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space", **units} for name in "zyx")]
    scale = [{"type": "scale", "scale": [1.0, 1500.0, 250.0, 250.0]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}], "version": "0.5"}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return folder / "a.zarr"


def zeiss(folder: Path, **sizes: float) -> Path:
    with czi.create_czi(str(folder / "a.czi")) as document:
        for t, z in np.ndindex(STACK.shape[:2]):
            document.write(STACK[t, z][..., None], plane={"T": t, "Z": z, "C": 0})
        document.write_metadata("a", **sizes)
    return folder / "a.czi"


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda folder: ome_tiff(folder, PhysicalSizeZ=1.5), 1.5),
        (lambda folder: ome_tiff(folder, PhysicalSizeZ=1500, PhysicalSizeZUnit="nm"), 1.5),
        (lambda folder: ome_tiff(folder, PhysicalSizeZ=7, PhysicalSizeZUnit="reference frame"), None),
        (ome_tiff, None),
        (lambda folder: imagej(folder, spacing=1.5, unit="um"), 1.5),
        (lambda folder: imagej(folder, spacing=-1.5, unit="micron"), 1.5),
        (lambda folder: imagej(folder, spacing=1.5), None),
        (imagej, None),
        (lambda folder: ome_zarr(folder, "nanometer"), 1.5),
        (lambda folder: ome_zarr(folder, None), None),
        (lambda folder: zeiss(folder, scale_x=2.5e-7, scale_y=2.5e-7, scale_z=1.5e-6), 1.5),
        (zeiss, None),
    ],
)
def test_the_z_step_of_a_file(write: Callable[[Path], Path], expected: float | None, tmp_path: Path) -> None:
    path = write(tmp_path)
    for plane in range(6):
        with open_image(path, replace(FIRST_PAGE, plane=plane)) as source:
            assert source.z_step_um == (None if expected is None else pytest.approx(expected))
            assert source.z_place == plane % 3


def test_z_may_run_before_time(tmp_path: Path) -> None:
    path = ome_tiff(tmp_path, axes="ZTYX", PhysicalSizeZ=1.5)
    places = []
    for plane in range(6):
        with open_image(path, replace(FIRST_PAGE, plane=plane)) as source:
            places.append(source.z_place)
    assert places == [0, 0, 0, 1, 1, 1]


def test_a_file_without_z_has_no_step(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0])
    with open_image(tmp_path / "a.tif", FIRST_PAGE) as source:
        assert (source.z_step_um, source.z_place) == (None, 0)
