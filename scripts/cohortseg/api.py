"""The engine for notebooks and other programs; its functions are stable."""

from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.errors import ImageError
from cohortseg.networks import Network
from cohortseg.segment.modality import choose_modality
from cohortseg.segment.prepare import make_task, prepare
from cohortseg.segment.stream import stream_cells
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.stores.images import open_image
from cohortseg.stores.location import image_location
from cohortseg.stores.source import ArraySource, ImageFacts, ImageSource, PageSelection

# Arrays that end in no more than this are colours, or have their channels last.
_MOST_SAMPLES = 4


def segment_image(
    image: NDArray[np.generic] | str | Path,
    model: str | None = None,
    channels: Sequence[str | int] | None = None,
    diameter: float | None = None,
    device: str | None = None,
    settings: SegmentSettings | None = None,
) -> geopandas.GeoDataFrame:
    """Segment one image and return its cells, with the columns of polygons.parquet.

    Parameters
    ----------
    image
        A path or URL, or an array: (y, x), (channel, y, x), or (y, x, 3 or 4) uint8 or uint16 as R, G, B and, not
        used, alpha.
    model, channels, diameter, device
        Where given, they replace the same fields of `settings`, and of its table of modalities.
    settings
        Everything else, such as `SegmentSettings(model_path="my_checkpoint")`; None for the defaults.

    Raises
    ------
    CohortsegError
        If the image, a channel, the network or the device is not as asked for.
    """
    given = {"model": model, "channels": channels, "diameter": diameter, "device": device}
    changes = {name: value for name, value in given.items() if value is not None}
    merged = load_block(SegmentSettings, (settings or SegmentSettings()).overriding(changes))
    with _open(image, merged) as source:
        effective = merged.resolved(choose_modality(source, merged).name)
        network = Network.of(effective)
        tally = Tally()
        prepared = prepare(source, network, effective, tally)
        tables = list(stream_cells(make_task(source, network, effective, prepared), tally, lambda _: None))
    return geopandas.GeoDataFrame(pd.concat(tables, ignore_index=True), geometry="geometry")


def _open(image: NDArray[np.generic] | str | Path, settings: SegmentSettings) -> ImageSource:
    if isinstance(image, str | Path):
        return open_image(image_location(image), PageSelection.of(settings))
    pixels = np.asarray(image)
    ends_in_few = pixels.ndim == 3 and pixels.shape[-1] <= _MOST_SAMPLES < pixels.shape[0]
    is_rgb = ends_in_few and pixels.shape[-1] >= 3 and pixels.dtype in (np.uint8, np.uint16)
    if ends_in_few and not is_rgb and not settings.channel_last:
        raise ImageError(
            f"the array has shape {pixels.shape} and dtype {pixels.dtype}",
            "channels were expected first, or last if settings say channel_last",
            "Move its channels to the front, or set channel_last.",
        )
    if is_rgb:
        pixels = pixels[..., :3]
    if is_rgb or (pixels.ndim == 3 and settings.channel_last):
        pixels = np.moveaxis(pixels, -1, 0)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.dtype.kind not in "buif" or pixels.size == 0:
        raise ImageError(
            f"the array has shape {np.shape(image)} and dtype {pixels.dtype}",
            "real numbers as (y, x), (channel, y, x) or colours as (y, x, 3) were expected",
            "Give one plane of the image, or its path.",
        )
    names = ("R", "G", "B") if is_rgb else tuple(str(i) for i in range(len(pixels)))
    facts = ImageFacts(
        path=Path("array"),
        shape=(pixels.shape[1], pixels.shape[2]),
        dtype=pixels.dtype,
        channels=names,
        is_rgb=is_rgb,
        pixel_size_um=settings.pixel_size_um,
        n_planes=1,
        format="array",
    )
    return ArraySource(pixels, facts)
