"""Size and shape of cells from sums over their pixels."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.kernels.hull import count_hull_pixels
from cohortseg.kernels.measure import Sums


def describe_shape(sums: Sums, pixel_size_um: float) -> pd.DataFrame:
    """Return what the sums say of each cell's size, place and shape, one row a cell in the order of `sums`.

    `area_px` (int64), `area_um2`; `centroid_x`, `centroid_y`: mean of the pixels' centres, in pixels from the image's
    corner, and in micrometres `centroid_x_um`, `centroid_y_um`; `perimeter_px`, `perimeter_um`; `major_axis_px`,
    `minor_axis_px`, `major_axis_um`, `minor_axis_um`, `eccentricity`, `orientation_rad`: of the ellipse with the same
    second moments; `solidity`: the pixels of the cell over those of its convex hull, as `count_hull_pixels` has them.
    All as in `skimage.measure.regionprops`, but that a pixel's centre is at 0.5 from its corner, and that of a cell
    as long as it is wide the orientation is 0. The orientation is the angle from the y axis (down) to the major axis,
    positive towards x, above -π/2 and at most π/2.

    The perimeter is Crofton's, from crossings in four directions (Legland, Kiêu, Devaux 2007, Image Analysis &
    Stereology 26:83), `perimeter_crofton` there: a length along pixel edges would be 4/π times too long for a disc,
    however large.

    A cell without pixels has area 0, and NaN in all columns but the areas.

    Parameters
    ----------
    pixel_size_um
        Side of a pixel; NaN where not known, as are all columns in micrometres then.
    """
    area = sums.moments[:, 0]
    n = np.where(area == 0, np.nan, area)
    mean_y, mean_x, mean_yy, mean_xx, mean_yx = (sums.moments[:, k] / n for k in range(1, 6))
    var_y, var_x, covariance = mean_yy - mean_y**2, mean_xx - mean_x**2, mean_yx - mean_y * mean_x
    major, minor = _ellipse(var_y, var_x, covariance)
    with np.errstate(invalid="ignore"):
        eccentricity = np.where(major == 0, 0.0, np.sqrt(1 - (minor / np.where(major == 0, 1, major)) ** 2))
    x, y = sums.anchors[:, 1] + mean_x + 0.5, sums.anchors[:, 0] + mean_y + 0.5
    perimeter = np.pi / 8 * (sums.crossings[:, 0] + sums.crossings[:, 1] / np.sqrt(2)) + 0 * n
    return pd.DataFrame(
        {
            "area_px": area,
            "area_um2": area * pixel_size_um**2,
            "centroid_x": x,
            "centroid_y": y,
            "centroid_x_um": x * pixel_size_um,
            "centroid_y_um": y * pixel_size_um,
            "perimeter_px": perimeter,
            "perimeter_um": perimeter * pixel_size_um,
            "major_axis_px": major,
            "minor_axis_px": minor,
            "major_axis_um": major * pixel_size_um,
            "minor_axis_um": minor * pixel_size_um,
            "eccentricity": eccentricity,
            "orientation_rad": np.arctan2(2 * covariance, var_y - var_x) / 2,
            "solidity": area / np.where(area == 0, np.nan, count_hull_pixels(sums.spans, sums.starts)),
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
