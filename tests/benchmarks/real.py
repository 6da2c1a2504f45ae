"""The field that the built-in network gives of real images, side by side."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cohortseg.networks import Network
from cohortseg.settings import SegmentSettings

PIECE_PX = 256
ACROSS = 8


def field_of(pictures: Sequence[Path]) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Return flow (2, y, x), logits (y, x) and the number of grey images of at least 256 px that make up the field."""
    pieces: list[NDArray[np.float32]] = []
    for path in pictures:
        picture = cv2.imread(str(path))
        if picture is None or min(picture.shape[:2]) < PIECE_PX or np.ptp(picture.astype(int), axis=2).max():
            continue
        grey = picture[:PIECE_PX, :PIECE_PX, 0].astype(np.float32)
        low, high = np.percentile(grey, [1, 99])
        if np.median(grey) < (low + high) / 2:  # bright cells on a dark ground
            pieces.append((grey - low) / max(high - low, 1))
        if len(pieces) == ACROSS**2:
            break
    rows = len(pieces) // ACROSS
    grid = [np.concatenate(pieces[i * ACROSS : (i + 1) * ACROSS], axis=1) for i in range(rows)]
    image = np.concatenate(grid)
    tile = np.zeros((1, 2, *image.shape), np.float32)
    tile[0, 0] = image
    field = Network.of(SegmentSettings.model_validate({"device": "cpu"})).forward(tile)[0][0]
    return field[:2], field[2], rows * ACROSS
