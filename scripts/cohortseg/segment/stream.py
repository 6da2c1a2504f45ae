"""One pass over an image: tiles in, cells out, in flat memory."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import geopandas
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import SettingsError
from cohortseg.segment.cells import WindowCells, window_cells
from cohortseg.segment.field import NO_CELL_LOGIT, RollingField
from cohortseg.segment.frontier import Frontier
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import ChannelMix, Normalisation, read_input
from cohortseg.segment.network import FieldNetwork
from cohortseg.segment.table import cell_table
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings
from cohortseg.stores.source import ImageSource
from cohortseg.tiling import Strip, TileGrid, Window, plan_strips, plan_tiles

# What a window sees around its core, in diameters of a cell on the network's grid: a cell whose seed lies in the
# core is seen whole, with the neighbours that press on it, as long as each is at most half of this.
_HALO_DIAMETERS = 4
# Columns of the network's grid that are streamed together; bounds the memory for wide images.
_STRIP_PX = 8192
# How far beyond the image the network sees, as nothing: in training, too, images end in nothing, while the end of a
# crop means that cells go on. Without it, cells on the image's border would point beyond it and be lost.
_BORDER_PX = 16
_BATCH_ON_GPU = 8


@dataclass(frozen=True)
class Task:
    """One image, ready to be segmented."""

    source: ImageSource
    network: FieldNetwork
    mix: ChannelMix
    normalisation: Normalisation
    geometry: Geometry
    settings: SegmentSettings

    def read(self, box: Box) -> NDArray[np.float32] | None:
        """Return a tile as the network sees it, or None where the image is constant."""
        return read_input(
            self.source, self.mix, self.normalisation, self.geometry, box=box, n_inputs=self.network.n_channels
        )


def stream_cells(task: Task, tally: Tally, on_progress: Callable[[Tally], None]) -> Iterator[geopandas.GeoDataFrame]:
    """Segment an image and yield its cells, one table a window, in a fixed order.

    Reading and forward run in the calling thread, post-processing and tracing in workers; what waits between them
    is bounded by `pipeline.postprocess_queue_size` windows. `cell_id` counts from 1 over all tables.

    Parameters
    ----------
    tally
        Filled on the way.
    on_progress
        Called after each batch of tiles, and at the end.

    Raises
    ------
    SettingsError
        If tiles of the size asked for do not fit the network's stride.
    """
    pipeline, network = task.settings.pipeline, task.network
    smallest_px = 2 * (_BORDER_PX + network.stride_px)
    if pipeline.infer_size % network.stride_px or pipeline.infer_size < smallest_px:
        raise SettingsError(
            f"pipeline.infer_size is {pipeline.infer_size}",
            f"this network takes multiples of {network.stride_px}, at least {smallest_px}",
            "Correct pipeline.infer_size.",
        )
    shape = task.geometry.network_shape
    grid = plan_tiles(
        shape,
        tile_px=pipeline.infer_size,
        margin_px=pipeline.overlap_margin,
        border_px=_BORDER_PX,
        stride_px=network.stride_px,
    )
    halo_px = max(pipeline.overlap_margin, round(_HALO_DIAMETERS * network.diameter_px))
    # A shrunken image has more pixels in a window than the network's grid has: smaller cores keep them bounded.
    core_px = max(2 * halo_px, round(pipeline.infer_size * min(1.0, 2 * task.geometry.scale)))
    strips = plan_strips(shape, core_px=core_px, halo_px=halo_px, strip_px=_STRIP_PX)
    tally.tiles = sum(len(grid.y.starts) * len(grid.x.reaching(*strip.columns)) for strip in strips)
    with _Workers(task, tally) as workers:
        for strip in strips:
            yield from _stream_strip(task, grid, strip, workers, tally, on_progress)
        yield from workers.finish()
    on_progress(tally)


def _stream_strip(
    task: Task,
    grid: TileGrid,
    strip: Strip,
    workers: "_Workers",
    tally: Tally,
    on_progress: Callable[[Tally], None],
) -> Iterator[geopandas.GeoDataFrame]:
    """Run the tiles of a strip row by row, and hand over each row of windows once its field is final."""
    band = RollingField(strip.columns)
    waiting = deque(strip.rows)
    columns = task.geometry.image_columns(strip.columns[0], strip.next_x0)
    for row in range(len(grid.y.starts)):
        for column, values in _forward_row(task, grid, row, grid.x.reaching(*strip.columns), tally, on_progress):
            band.add(grid.used(row, column), values, grid.weights(row, column))
        last = row == len(grid.y.starts) - 1
        final = grid.shape[0] if last else grid.y.used(row + 1)[0]
        while waiting and waiting[0][0].outer.y1 <= final:
            for window in waiting.popleft():
                yield from workers.submit(window, band.take(window.outer), columns)
        if waiting:
            band.drop_above(waiting[0][0].outer.y0)


def _forward_row(
    task: Task, grid: TileGrid, row: int, columns: range, tally: Tally, on_progress: Callable[[Tally], None]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the used part of each tile's output, (3, y, x), from left to right."""
    batch_size = task.settings.pipeline.batch_size or (_BATCH_ON_GPU if task.network.on_gpu else 1)
    for first in range(columns.start, columns.stop, batch_size):
        batch = range(first, min(first + batch_size, columns.stop))
        with tally.timed("read"):
            tiles = [task.read(grid.box(row, column)) for column in batch]
        with tally.timed("forward"):
            signal = [tile for tile in tiles if tile is not None]
            fields = iter(task.network.forward(np.stack(signal))[0] if signal else ())
        for column, tile in zip(batch, tiles, strict=True):
            box = grid.used(row, column).shifted(-grid.y.starts[row], -grid.x.starts[column])
            yield column, (_no_cells(box.shape) if tile is None else next(fields)[:, *box.slices])
        tally.tiles_done += len(batch)
        tally.tiles_skipped += len(batch) - len(signal)
        on_progress(tally)


def _no_cells(shape: tuple[int, int]) -> NDArray[np.float32]:
    values = np.zeros((3, *shape), np.float32)
    values[2] = NO_CELL_LOGIT
    return values


class _Workers:
    """Post-processing and tracing behind the forward pass; everything comes out in the order it went in."""

    def __init__(self, task: Task, tally: Tally) -> None:
        pipeline = task.settings.pipeline
        self._task, self._tally = task, tally
        self._frontier = Frontier()
        self._queue_size = pipeline.postprocess_queue_size
        self._post = ThreadPoolExecutor(pipeline.n_postprocess_processes, "postprocess")
        self._merge = ThreadPoolExecutor(pipeline.n_merge_tile_processes, "merge")
        self._windows: deque[tuple[Future[WindowCells], tuple[int, int]]] = deque()
        self._tables: deque[Future[geopandas.GeoDataFrame]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for pool in (self._post, self._merge):
            pool.shutdown(wait=True, cancel_futures=kind is not None)

    def submit(
        self, window: Window, values: NDArray[np.float32], columns: tuple[int, int]
    ) -> Iterator[geopandas.GeoDataFrame]:
        """Queue a window; yield tables that are ready, waiting for some where the queue is full."""
        self._windows.append((self._post.submit(self._window_cells, values, window), columns))
        yield from self._drain(self._queue_size)

    def finish(self) -> Iterator[geopandas.GeoDataFrame]:
        """Yield all remaining tables."""
        yield from self._drain(0)

    def _drain(self, allowed: int) -> Iterator[geopandas.GeoDataFrame]:
        with self._tally.timed("wait"):
            while len(self._windows) > allowed or (self._windows and self._windows[0][0].done()):
                future, columns = self._windows.popleft()
                cells = self._frontier.settle(future.result(), columns)
                self._tally.windows += 1
                self._tally.cells_cut += cells.n_cut
                self._tables.append(self._merge.submit(self._table, cells))
        while len(self._tables) > allowed or (self._tables and self._tables[0].done()):
            table = self._tables.popleft().result()
            table["cell_id"] += self._tally.cells
            self._tally.cells += len(table)
            self._tally.overlap_px, self._tally.duplicates = self._frontier.overlap_px, self._frontier.duplicates
            yield table

    def _window_cells(self, values: NDArray[np.float32], window: Window) -> WindowCells:
        with self._tally.timed("postprocess"):
            return window_cells(values, window, self._task.geometry, self._task.settings.postprocess)

    def _table(self, cells: WindowCells) -> geopandas.GeoDataFrame:
        with self._tally.timed("trace"):
            return cell_table(cells, self._task.source.shape)
