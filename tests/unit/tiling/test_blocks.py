"""Plain blocks."""

import numpy as np
import pytest

from cohortseg.tiling.blocks import blocks


@pytest.mark.parametrize("shape", [(10, 10), (7, 13), (1, 30), (4, 4)])
def test_blocks_cover_every_pixel_once(shape: tuple[int, int]) -> None:
    seen = np.zeros(shape, int)
    for box in blocks(shape, 4):
        assert max(box.shape) <= 4
        seen[box.slices] += 1
    assert (seen == 1).all()


def test_an_image_without_pixels_has_no_blocks() -> None:
    assert list(blocks((0, 5), 4)) == []
