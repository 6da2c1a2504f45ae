"""Where cells end, as pixels."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels


def inner_borders(labels: Labels) -> NDArray[np.bool_]:
    """Return which pixels of cells have a 4-neighbour of another label; the image's edge is no border."""
    border = np.zeros(labels.shape, bool)
    down = labels[:-1] != labels[1:]
    right = labels[:, :-1] != labels[:, 1:]
    border[:-1] |= down
    border[1:] |= down
    border[:, :-1] |= right
    border[:, 1:] |= right
    inner: NDArray[np.bool_] = border & (labels > 0)
    return inner
