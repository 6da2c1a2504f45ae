"""A picture of the 3D cells of a stack as seen from its first plane."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from cohortseg.arrays import Box
from cohortseg.report.projection import draw_projection, project
from cohortseg.stores.labels import open_labels
from cohortseg.stores.tables import write_png

_MOST_PX = 1400


def write_projection(folder: Path, objects: pd.DataFrame, *, chunk_px: int, z_indices: tuple[int, int]) -> None:
    """Draw the 3D cells of a stack from its label image, a plane at a time, at the level of a picture's size.

    Parameters
    ----------
    folder
        Of the stack, with 3d_mask.zarr; the picture is written there as projection.png.
    objects
        Of `summarise_objects`: `cell_id` from 1 without gaps, and `centroid_z`.
    chunk_px
        Side of the label image's chunks, at which its pyramid ends.
    z_indices
        The first and the last plane's.
    """
    mask = folder / "3d_mask.zarr"
    side = max(open_labels(mask).shape[1:])
    level = max(0, math.ceil(math.log2(side / max(_MOST_PX, chunk_px))))
    source = open_labels(mask, level)
    n_slices, height, width = source.shape
    step = -(-max(height, width) // _MOST_PX)
    box = Box(0, 0, height, width)
    seen = project(source.read_plane(z, box)[::step, ::step] for z in range(n_slices))
    middles = np.append(np.nan, objects["centroid_z"].to_numpy(float))
    write_png(folder / "projection.png", draw_projection(seen, middles, *z_indices))
