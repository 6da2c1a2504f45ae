"""Size and shape of cells from sums over their pixels."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.kernels.measure import Sums


def describe_shape(sums: Sums) -> pd.DataFrame:
    """Return what the sums say of each cell's size, place and shape, one row a cell in the order of `sums`.

    `area_px`; `centroid_x`, `centroid_y`: mean of the pixels' centres, in pixels from the image's corner;
    `perimeter_px`; `major_axis_px`, `minor_axis_px`, `eccentricity`, `orientation_rad`: of the ellipse with the
    same second moments, as in `skimage.measure.regionprops`. The orientation is the angle from the y axis (down)
    to the major axis, positive towards x, above -π/2 and at most π/2, and 0 where no axis is the longer.

    The perimeter is Crofton's, from crossings in four directions (Legland, Kiêu, Devaux 2007, Image Analysis &
    Stereology 26:83): a length along pixel edges would be 4/π times too long for a disc, however large.

    A cell without pixels has area 0 and NaN in the other columns.
    """
    area = sums.moments[:, 0]
    n = np.where(area == 0, np.nan, area)
    mean_y, mean_x, mean_yy, mean_xx, mean_yx = (sums.moments[:, k] / n for k in range(1, 6))
    var_y, var_x, covariance = mean_yy - mean_y**2, mean_xx - mean_x**2, mean_yx - mean_y * mean_x
    major, minor = _ellipse(var_y, var_x, covariance)
    with np.errstate(invalid="ignore"):
        eccentricity = np.where(major == 0, 0.0, np.sqrt(1 - (minor / np.where(major == 0, 1, major)) ** 2))
    return pd.DataFrame(
        {
            "area_px": area,
            "centroid_x": sums.anchors[:, 1] + mean_x + 0.5,
            "centroid_y": sums.anchors[:, 0] + mean_y + 0.5,
            "perimeter_px": np.pi / 8 * (sums.crossings[:, 0] + sums.crossings[:, 1] / np.sqrt(2)) + 0 * n,
            "major_axis_px": major,
            "minor_axis_px": minor,
            "eccentricity": eccentricity,
            "orientation_rad": np.arctan2(2 * covariance, var_y - var_x) / 2,
        }
    )


def _ellipse(
    var_y: NDArray[np.float64], var_x: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the full axes (px) of the ellipses that have these second moments."""
    middle = (var_y + var_x) / 2
    spread = np.hypot((var_y - var_x) / 2, covariance)
    # Rounding may take the smaller moment of a straight line a hair below 0.
    return 4 * np.sqrt(middle + spread), 4 * np.sqrt(np.maximum(middle - spread, 0))
