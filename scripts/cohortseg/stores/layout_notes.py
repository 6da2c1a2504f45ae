"""What the layout of a file costs whoever reads it in tiles, said once in the log, with the way out."""

import logging

from cohortseg.stores.location import Location

LARGE_BYTES = 64 * 2**20
"""A channel below this size is read in an instant, whatever its layout."""

_LOGGER = logging.getLogger("cohortseg")
_MB = 1e6


def convert_hint(path: Location) -> str:
    """Return how to make an image cheaper to read."""
    return f"`cohortseg convert {path} --output {path.name.partition('.')[0]}.ome.zarr` makes small tiles of it"


def note_strips(path: Location, plane_bytes: int, strip_rows: int, height: int, kept_bytes: int) -> None:
    """Say that a compressed channel of `height` rows is stored in strips of `strip_rows` rows, and what that costs.

    Parameters
    ----------
    plane_bytes
        Size of the decoded channel, with the samples that lie interleaved with it.
    kept_bytes
        Decoded strips that are kept at most.
    """
    if plane_bytes < LARGE_BYTES:
        return
    if strip_rows >= height:
        _LOGGER.warning(
            "%s: each channel is one compressed strip; all %.0f MB of it are decoded for the first tile and stay in "
            "memory; %s",
            path.name, plane_bytes / _MB, convert_hint(path),
        )  # fmt: skip
        return
    _LOGGER.info(
        "%s: stored in strips of %d rows, not in tiles: read in bands as wide as the image, of which up to %.0f MB are "
        "kept in memory, and less where decoded strips go to a scratch file; %s",
        path.name, strip_rows, min(kept_bytes, plane_bytes) / _MB, convert_hint(path),
    )  # fmt: skip


def note_frame(path: Location, frame_bytes: int) -> None:
    """Say that all channels of a plane are compressed as one, and what that costs: `frame_bytes` once decoded."""
    if frame_bytes < LARGE_BYTES:
        return
    _LOGGER.warning(
        "%s: all channels of a plane are compressed as one; its %.0f MB are decoded for the first tile and stay in "
        "memory; %s",
        path.name, frame_bytes / _MB, convert_hint(path),
    )  # fmt: skip


def note_chunks(path: Location, plane_bytes: int, chunk_bytes: int, planes_per_chunk: int) -> None:
    """Say that a zarr array's chunks are large, or span several channels or planes, and what that costs.

    Parameters
    ----------
    plane_bytes, chunk_bytes
        Size of a decoded channel of one plane, and of a decoded chunk.
    planes_per_chunk
        Channels and planes in a chunk, all of which are decoded for any one of them.
    """
    if plane_bytes < LARGE_BYTES:
        return
    if chunk_bytes > LARGE_BYTES:
        _LOGGER.warning(
            "%s: chunks of %.0f MB are decoded whole for any part of them; %s",
            path.name, chunk_bytes / _MB, convert_hint(path),
        )  # fmt: skip
    elif planes_per_chunk > 1:
        _LOGGER.info(
            "%s: each chunk holds %d channels or planes, all of which are decoded for any one of them; %s",
            path.name, planes_per_chunk, convert_hint(path),
        )  # fmt: skip
