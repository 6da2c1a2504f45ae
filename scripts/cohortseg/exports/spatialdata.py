"""SpatialData: image, labels, outlines and table of a sample in one zarr store, written chunk by chunk."""

import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.exports.anndata import provenance, write_anndata
from cohortseg.exports.cells import CellSource
from cohortseg.exports.extra import exports_extra
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.channels import channel_names
from cohortseg.stores.polygons import read_polygons
from cohortseg.stores.source import ImageSource

if TYPE_CHECKING:
    from anndata import AnnData

IMAGE, LABELS, SHAPES, TABLE = "image", "labels", "cells", "table"
_CHUNK_PX = 2048
_SMALLEST_PX = 1024


class Pixels(NamedTuple):
    """What of a sample is pixels."""

    shape: tuple[int, int]
    """(y, x) of the image and its labels."""
    labels: Callable[[Box], Labels]
    """Gives the labels of a box, from any thread."""
    image: ImageSource | None
    """The image that is copied, of this shape; None for none."""


def write_spatialdata(path: Path, source: CellSource, pixels: Pixels, *, workers: int) -> None:
    """Write a SpatialData store with the elements `image`, `labels`, `cells` (outlines) and `table`.

    Image and labels have a pyramid; channels are called as in the table. The value of a label, the index of an outline
    and `cell_id` of the table are one. The table annotates the outlines. The coordinate system `global` is in pixels
    from the image's top left corner, `um`, where the pixel size is known, in micrometres. What made the cells is in the
    attributes, under `cohortseg`.
    Pixels are read and written by chunks, on `workers` threads; outlines and table are held whole. SpatialData knows no
    element of no outlines: of a sample without cells it is left out, and the table, without rows, annotates nothing.

    Raises
    ------
    MissingExtraError
        spatialdata is not installed.
    TableError
        As `CellSource.batches`.
    """
    with exports_extra(path.name, "spatialdata"):
        import dask
        import spatialdata
        from spatialdata.models import Image2DModel, Labels2DModel, ShapesModel
        from spatialdata.transformations import Identity, Scale
    size = source.pixel_size_um
    systems: dict[str, Any] = {"global": Identity()}
    if size is not None:
        systems["um"] = Scale([size, size], axes=("x", "y"))
    factors = [2] * max(0, int(np.ceil(np.log2(max(pixels.shape) / _SMALLEST_PX))))
    layout: dict[str, Any] = {"transformations": systems, "scale_factors": factors or None}
    side = (_CHUNK_PX, _CHUNK_PX)
    images = {}
    if pixels.image is not None:
        image = _image_array(pixels.image)
        images[IMAGE] = Image2DModel.parse(
            image,
            dims="cyx",
            c_coords=channel_names(range(len(pixels.image.channels)), pixels.image.channels),
            chunks=(image.chunksize[0], *side),
            **layout,
        )
    outlines = read_polygons(source.polygons, columns=["cell_id"], box=None).set_index("cell_id")
    shapes = {SHAPES: ShapesModel.parse(outlines, transformations=systems)} if len(outlines) else {}
    with atomic_path(path) as temporary:
        store = spatialdata.SpatialData(
            images=images,
            labels={LABELS: Labels2DModel.parse(_label_array(pixels), dims="yx", chunks=side, **layout)},
            shapes=shapes,
            tables={TABLE: _table(path, source)},
            attrs={"cohortseg": provenance(source)},
        )
        with dask.config.set(scheduler="threads", num_workers=workers), warnings.catch_warnings():
            # anndata's word to those who set up their stores themselves
            warnings.filterwarnings("ignore", "zarr v3 autosharding", UserWarning)
            store.write(temporary, update_sdata_path=False)


def _table(path: Path, source: CellSource) -> "AnnData":
    """Return the table, annotating the outlines; it passes through a folder that is seen to be a leftover of `path`."""
    import anndata
    from spatialdata.models import TableModel

    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.tmp-") as scratch:
        write_anndata(Path(scratch) / "cells.h5ad", source)
        table = anndata.io.read_h5ad(Path(scratch) / "cells.h5ad")
    if table.n_obs == 0:
        return TableModel.parse(table)
    table.obs["region"] = pd.Categorical([SHAPES] * table.n_obs)
    return TableModel.parse(table, region=SHAPES, region_key="region", instance_key="cell_id")


def _image_array(image: ImageSource) -> Any:
    """Return a dask array (c, y, x) of an image; red, green and blue, which files hold together, are one chunk."""
    n_channels = len(image.channels)
    chunks = ((n_channels,) if image.is_rgb else (1,) * n_channels, *_chunks(image.shape))

    def read(block_info: Any) -> NDArray[Any]:
        (c0, c1), (y0, y1), (x0, x1) = block_info[None]["array-location"]
        return image.read(range(c0, c1), Box(y0, x0, y1, x1))

    return _blocks("image", read, chunks, image.dtype)


def _label_array(pixels: Pixels) -> Any:
    """Return a dask array (y, x) of the labels, uint32."""

    def read(block_info: Any) -> Labels:
        (y0, y1), (x0, x1) = block_info[None]["array-location"]
        return pixels.labels(Box(y0, x0, y1, x1))

    return _blocks("labels", read, _chunks(pixels.shape), np.dtype(np.uint32))


def _blocks(name: str, read: Callable[..., Any], chunks: tuple[tuple[int, ...], ...], dtype: np.dtype[Any]) -> Any:
    import dask.array

    map_blocks: Callable[..., Any] = dask.array.map_blocks
    # Named, since dask would else pickle the open file to make a name of it.
    meta = np.empty((0,) * len(chunks), dtype)
    return map_blocks(read, chunks=chunks, dtype=dtype, meta=meta, name=f"cohortseg-{name}")


def _chunks(shape: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rows, columns = (tuple(min(_CHUNK_PX, side - start) for start in range(0, side, _CHUNK_PX)) for side in shape)
    return rows, columns
