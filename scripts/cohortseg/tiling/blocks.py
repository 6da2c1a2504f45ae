"""Plain blocks of an image, for work that needs no halo and no ownership."""

from collections.abc import Iterator

from cohortseg.arrays import Box


def blocks(shape: tuple[int, int], block_px: int) -> Iterator[Box]:
    """Yield square boxes of side `block_px` that cover an image of `shape` once, in raster order.

    Boxes at the right and lower border are cut to the image; an image without pixels has none.
    """
    for y0 in range(0, shape[0], block_px):
        for x0 in range(0, shape[1], block_px):
            yield Box(y0, x0, min(y0 + block_px, shape[0]), min(x0 + block_px, shape[1]))
