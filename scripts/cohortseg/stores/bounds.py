"""How much memory a few bytes of a file may claim."""

import math
from collections.abc import Sequence

FREE_BYTES = 256 * 2**20
"""Decoded segments up to this size are taken as they come."""

MOST_EXPANSION = 3000
"""Larger ones may be so many times their encoded size: deflate reaches 1,032, LZW about 2,700."""


_NO_FRAME_MARKERS = (0xC4, 0xC8, 0xCC)
"""Tables and reserved ones among the markers of frames (ITU-T T.81, table B.1)."""

_MOST_PADDING = 4
_SMALLEST_TILE_PX = 2**16


def check_expansion(encoded_bytes: int, decoded_bytes: int) -> None:
    """Raise ValueError where a segment, by what its header says, would be implausibly large once decoded."""
    if decoded_bytes > FREE_BYTES and decoded_bytes > MOST_EXPANSION * encoded_bytes:
        raise ValueError(f"{encoded_bytes} bytes claim to hold {decoded_bytes} bytes of pixels")


def check_jpeg(data: bytes, chunk: Sequence[int]) -> None:
    """Raise ValueError where a JPEG stream says that it is far larger than the tile it is in, before it is decoded.

    Parameters
    ----------
    chunk
        (y, x, samples) of the tile, or with further axes before.
    """
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_MARKERS:
            height, width = (int.from_bytes(data[position + i : position + i + 2], "big") for i in (5, 7))
            if height * width > _MOST_PADDING * max(math.prod(chunk), _SMALLEST_TILE_PX):
                raise ValueError(f"its JPEG stream is of {height} x {width} pixels, the tile of {tuple(chunk)}")
            return
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
