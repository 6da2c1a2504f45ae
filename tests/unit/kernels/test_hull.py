"""Pixels of convex hulls, against scikit-image's own count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter
from skimage.measure import regionprops

from cohortseg.kernels.hull import count_hull_pixels


def counted(*cells: np.ndarray) -> list[int]:
    """Return our counts of binary pictures, each a cell, handed over together."""
    spans = np.full((sum(map(len, cells)), 2), (2**31 - 1, -1), np.int32)
    starts = np.cumsum([0, *map(len, cells)])
    for start, cell in zip(starts, cells, strict=False):
        for line in np.flatnonzero(cell.any(axis=1)):
            columns = np.flatnonzero(cell[line])
            spans[start + line] = columns[0], columns[-1]
    return count_hull_pixels(spans, starts).tolist()


def by_skimage(cell: np.ndarray) -> int:
    return int(sum(region.area_convex for region in regionprops(cell.astype(np.uint8))))


@settings(deadline=None)
@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=25).flatmap(
        lambda shape: hnp.arrays(np.bool_, shape, fill=st.just(False))
    )
)
def test_the_hull_of_any_pixels_is_scikit_image_s(cell: np.ndarray) -> None:
    """Pieces, holes, single pixels and lines among them; ties are many, since all is on a grid."""
    assert counted(cell) == [by_skimage(cell)]


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_the_hull_of_large_cells_is_scikit_image_s(share: float) -> None:
    rng = np.random.default_rng(0)
    pictures = [gaussian_filter(rng.normal(size=(240, 310)), side) for side in (2, 5, 9, 17, 40)]
    cells = [picture > np.quantile(picture, 1 - share) for picture in pictures]
    assert counted(*cells) == [by_skimage(cell) for cell in cells]


def test_a_hull_joins_pieces_that_are_far_apart() -> None:
    cell = np.zeros((4, 12), bool)
    cell[0, 0] = cell[3, 11] = True
    assert counted(cell) == [by_skimage(cell)] == [12]


def test_a_cell_without_a_pixel_has_no_hull() -> None:
    assert counted(np.zeros((3, 4), bool), np.ones((1, 1), bool), np.zeros((0, 1), bool)) == [0, 1, 0]
