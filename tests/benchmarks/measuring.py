"""measuring.py WHAT FOLDER SMALL_FOLDER: measure the cells of an image, timed in a process of its own.

Each folder holds polygons.parquet and image.tif; the small one comes first, to compile. WHAT is `ours` (blocks of both
files) or `skimage` (`regionprops_table` over arrays that were read and drawn before). Both measure area, place, axes,
eccentricity, orientation, solidity and Crofton's perimeter, and of each channel mean, median, standard deviation,
smallest and largest value. Writes WHAT.parquet into the folder, and prints the seconds.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from skimage.measure import regionprops_table

from cohortseg.arrays import Box
from cohortseg.quantify import Wanted, measure_cells
from cohortseg.steps.planes import label_reader
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.polygons import read_polygons

STATISTICS = ("mean", "median", "std", "min", "max")
_BLOCK_PX = 1024
_SHAPES = (
    "label", "area", "centroid", "axis_major_length", "axis_minor_length", "eccentricity", "orientation", "solidity",
    "perimeter_crofton",
)  # fmt: skip


def main(what: str, folder: str, small_folder: str) -> None:
    measure = {"ours": _ours, "skimage": _skimage}[what]
    for each in map(Path, (small_folder, folder)):
        seconds, table = measure(each / "polygons.parquet", each / "image.tif")
    table.to_parquet(Path(folder) / f"{what}.parquet")
    print(json.dumps({"seconds": seconds}))


def _ours(polygons: Path, image: Path) -> tuple[float, pd.DataFrame]:
    start = time.perf_counter()
    with open_image(image, FIRST_PAGE) as source:
        names = [str(i) for i in range(len(source.channels))]
        table = measure_cells(
            label_reader(polygons),
            source,
            Wanted(range(len(names)), names, STATISTICS),
            read_polygons(polygons, columns=None, box=None),
            block_px=_BLOCK_PX,
            pixel_size_um=None,
        )
    return time.perf_counter() - start, table


def _skimage(polygons: Path, image: Path) -> tuple[float, pd.DataFrame]:
    pixels = np.moveaxis(tifffile.imread(image), 0, -1)
    labels = label_reader(polygons)(Box(0, 0, *pixels.shape[:2])).astype(np.int64)
    start = time.perf_counter()
    table = pd.DataFrame(
        regionprops_table(
            labels,
            pixels,
            [*_SHAPES, "intensity_mean", "intensity_std", "intensity_min", "intensity_max"],
            extra_properties=(median,),
        )
    )
    return time.perf_counter() - start, table


def median(cell: NDArray[np.bool_], pixels: NDArray[np.uint16]) -> NDArray[np.float64]:
    return np.asarray(np.median(pixels[cell], axis=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
