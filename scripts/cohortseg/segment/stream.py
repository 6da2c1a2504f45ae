"""One pass over an image: tiles in, cells out, in flat memory."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Self

import geopandas

from cohortseg.arrays import Box, Field
from cohortseg.errors import SettingsError
from cohortseg.segment.ahead import map_ahead
from cohortseg.segment.audit import SeamLines
from cohortseg.segment.cells import WindowCells, window_cells
from cohortseg.segment.field import RollingField
from cohortseg.segment.frontier import Frontier
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import ChannelMix, Normalisation, read_input
from cohortseg.segment.maths import ON_HOST, AnyField, FieldMaths
from cohortseg.segment.network import FieldNetwork
from cohortseg.segment.table import cell_table
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings
from cohortseg.stores.source import ImageSource
from cohortseg.tiling import WHOLE, Part, Strip, TileGrid, Window, plan_strips, plan_tiles, select_part, window_borders

# What a window sees around its core, in diameters of a cell on the network's grid: a cell whose seed lies in the
# core is seen whole, with the neighbours that press on it, as long as each is at most half of this. For larger cells
# the window is looked at with twice as much.
_HALO_DIAMETERS = 4
# Columns of the network's grid that are streamed together; bounds the memory for wide images. Strips share tiles of the
# network and of the file: as wide as this, they run a tenth more, and decode a fifth more, than one strip would.
_STRIP_PX = 9216
# How far beyond the image the network sees, as nothing: in training, too, images end in nothing, while the end of a
# crop means that cells go on. Without it, cells on the image's border would point beyond it and be lost.
_BORDER_PX = 8


@dataclass(frozen=True)
class Task:
    """One image, ready to be segmented; `window_px` is the largest side of a window's core, in network pixels."""

    source: ImageSource
    network: FieldNetwork
    mix: ChannelMix
    normalisation: Normalisation
    geometry: Geometry
    settings: SegmentSettings
    window_px: int

    def read(self, box: Box) -> Field | None:
        """Return a tile as the network sees it, or None where the image is constant."""
        return read_input(
            self.source, self.mix, self.normalisation, self.geometry, box=box, n_inputs=self.network.n_channels
        )

    @cached_property
    def maths(self) -> FieldMaths:
        """What works on the network's fields where the network leaves them."""
        if self.network.torch_device is None:
            return ON_HOST
        return _maths_on(self.network.torch_device)

    @cached_property
    def grid(self) -> TileGrid:
        """Tiles of the image on the network's grid.

        Raises
        ------
        SettingsError
            If tiles of the size asked for do not fit the network's stride.
        """
        pipeline, stride_px = self.settings.pipeline, self.network.stride_px
        smallest_px = 2 * (_BORDER_PX + stride_px)
        if pipeline.infer_size % stride_px or pipeline.infer_size < smallest_px:
            raise SettingsError(
                f"pipeline.infer_size is {pipeline.infer_size}",
                f"this network takes multiples of {stride_px}, at least {smallest_px}",
                "Correct pipeline.infer_size.",
            )
        return plan_tiles(
            self.geometry.network_shape,
            tile_px=pipeline.infer_size,
            margin_px=pipeline.overlap_margin,
            border_px=_BORDER_PX,
            stride_px=stride_px,
        )

    @cached_property
    def strips(self) -> tuple[Strip, ...]:
        """Windows of the whole image on the network's grid."""
        pipeline = self.settings.pipeline
        halo_px = max(pipeline.overlap_margin, round(_HALO_DIAMETERS * self.network.diameter_px))
        # A shrunken image has more pixels in a window than the network's grid has: smaller cores keep them bounded.
        core_px = max(2 * halo_px, round(self.window_px * min(1.0, 2 * self.geometry.scale)))
        return plan_strips(self.geometry.network_shape, core_px=core_px, halo_px=halo_px, strip_px=_STRIP_PX)


@cache
def _maths_on(device: str) -> FieldMaths:
    """Return the maths of a device, one for all images: torch has few streams, and keeps memory for each."""
    from cohortseg.on_device.maths import DeviceMaths  # with torch, which takes two seconds to import

    return DeviceMaths(device)


def seam_lines(task: Task) -> SeamLines:
    """Return where, in image pixels, a run could leave marks: borders of tiles and of windows."""
    geometry = task.geometry
    windows_y, windows_x = window_borders(task.strips)
    return SeamLines(
        tiles_y=geometry.image_lines(task.grid.y.seams, axis=0),
        tiles_x=geometry.image_lines(task.grid.x.seams, axis=1),
        windows_y=geometry.image_lines(windows_y, axis=0),
        windows_x=geometry.image_lines(windows_x, axis=1),
        reach_px=1 + math.ceil(0.5 / geometry.scale) if geometry.scale != 1 else 1,
        diameter_px=task.network.diameter_px / geometry.scale,
    )


def stream_cells(
    task: Task, tally: Tally, on_progress: Callable[[Tally], None], part: Part = WHOLE
) -> Iterator[geopandas.GeoDataFrame]:
    """Segment an image, or a part of it, and yield its cells, one table a window, in a fixed order.

    Tiles are read ahead in threads, the network runs in the calling thread, post-processing and tracing in threads
    again; what waits between them is bounded by `pipeline.read_queue_size` tiles and
    `pipeline.postprocess_queue_size` windows. Fields that the network leaves on a GPU stay there: labels come from it.
    `cell_id` counts from 1 over all tables; the tables of all parts, one after the other, are those of the whole image,
    but for the numbers.

    Parameters
    ----------
    tally
        Filled on the way.
    on_progress
        Called after each tile, and at the end.

    Raises
    ------
    SettingsError
        If tiles of the size asked for do not fit the network's stride.
    """
    strips = select_part(task.strips, part)
    tiles = [_tiles_of(task.grid, strip) for strip in strips]
    tally.tiles = sum(map(len, tiles))
    cores = (window.core for strip in strips for row in strip.rows for window in row if not window.ghost)
    tally.image_px = sum(math.prod(task.geometry.image_box(core).shape) for core in cores)
    with (
        _Workers(task, tally) as workers,
        closing(_fields(task, (task.grid.box(*tile) for needed in tiles for tile in needed), tally)) as fields,
    ):
        for strip, needed in zip(strips, tiles, strict=True):
            yield from _stream_strip(strip, _Tiles(task, needed, fields, tally, on_progress), workers)
        yield from workers.finish()
    on_progress(tally)


def _tiles_of(grid: TileGrid, strip: Strip) -> list[tuple[int, int]]:
    """Return the tiles, by row and column, that a strip's windows see, in the order in which they are run."""
    seen = strip.seen
    columns = grid.x.reaching(seen.x0, seen.x1)
    return [(row, column) for row in grid.y.reaching(seen.y0, seen.y1) for column in columns]


@dataclass(frozen=True)
class _Tiles:
    """The tiles of a strip, and where their fields come from."""

    task: Task
    needed: list[tuple[int, int]]
    fields: Iterator[AnyField | None]
    tally: Tally
    on_progress: Callable[[Tally], None]

    def blend_into(self, band: RollingField) -> Iterator[tuple[int, int]]:
        """Add tile after tile to a band, and yield after each the (row, column) up to which all is final."""
        grid = self.task.grid
        for row, column in self.needed:
            values, used = next(self.fields), grid.used(row, column)
            with self.tally.timed("blend"):
                if values is not None:
                    values = values[:, *used.shifted(-grid.y.starts[row], -grid.x.starts[column]).slices]
                band.add(used, values, grid.y.weights(row), grid.x.weights(column))
            self.tally.tiles_done += 1
            self.on_progress(self.tally)
            last_row, last_column = self.needed[-1]
            yield (
                grid.shape[0] if row == last_row else grid.y.used(row + 1)[0],
                grid.shape[1] if column == last_column else grid.x.used(column + 1)[0],
            )


def _stream_strip(strip: Strip, tiles: _Tiles, workers: "_Workers") -> Iterator[geopandas.GeoDataFrame]:
    """Hand over each window, in order, once its field is final: one or two a tile, so that few wait for a worker."""
    band = RollingField(strip.seen, tiles.task.maths)
    seen_from = [Strip(strip.rows[i:], strip.next_x0).seen for i in range(len(strip.rows))]
    windows = deque((window, seen) for row, seen in zip(strip.rows, seen_from, strict=True) for window in row)
    for final_y, final_x in tiles.blend_into(band):
        while windows and windows[0][0].wide.y1 <= final_y and windows[0][0].wide.x1 <= final_x:
            window, seen = windows.popleft()
            yield from workers.submit(window, band.take(window.wide), seen, strip.next_x0)
        if windows:
            band.drop_above(windows[0][1].y0)


def _fields(task: Task, boxes: Iterable[Box], tally: Tally) -> Generator[AnyField | None, None, None]:
    """Yield the network's output for each tile, (3, y, x), in order; None for those without signal."""
    pipeline = task.settings.pipeline
    has_signal: deque[bool] = deque()

    def with_signal(tiles: Iterable[Field | None]) -> Iterator[Field]:
        for tile in tiles:
            has_signal.append(tile is not None)
            if tile is not None:
                yield tile

    with closing(_read_ahead(task, boxes, tally)) as tiles:
        given = with_signal(tally.timed_each("wait_for_tiles", tiles))
        with closing(task.network.stream(given, pipeline.batch_size)) as outputs:
            for values in tally.timed_each("forward", outputs):
                while not has_signal.popleft():
                    tally.tiles_skipped += 1
                    yield None
                yield values
        for _ in has_signal:
            tally.tiles_skipped += 1
            yield None


def _read_ahead(task: Task, boxes: Iterable[Box], tally: Tally) -> Generator[Field | None, None, None]:
    """Yield the tiles in order, read ahead by threads."""

    def read(box: Box) -> Field | None:
        with tally.timed("read"):
            return task.read(box)

    pipeline = task.settings.pipeline
    return map_ahead(read, boxes, n_workers=pipeline.n_read_workers, queue_size=pipeline.read_queue_size, name="read")


@dataclass(frozen=True)
class _Waiting:
    """A window in the hands of a worker; what it and all later windows of the strip see; what later strips see."""

    cells: Future[WindowCells]
    window: Window
    seen: Box
    next_x0: int


class _Workers:
    """Post-processing and tracing behind the forward pass; everything comes out in the order it went in."""

    def __init__(self, task: Task, tally: Tally) -> None:
        pipeline = task.settings.pipeline
        self._task, self._tally = task, tally
        self._frontier = Frontier()
        self._queue_size = pipeline.postprocess_queue_size
        self._post = ThreadPoolExecutor(pipeline.n_postprocess_processes, "postprocess")
        self._merge = ThreadPoolExecutor(pipeline.n_merge_tile_processes, "merge")
        self._windows: deque[_Waiting] = deque()
        self._tables: deque[Future[geopandas.GeoDataFrame]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for pool in (self._post, self._merge):
            pool.shutdown(wait=True, cancel_futures=kind is not None)

    def submit(self, window: Window, values: AnyField, seen: Box, next_x0: int) -> Iterator[geopandas.GeoDataFrame]:
        """Queue a window; yield tables that are ready, waiting for some where the queue is full."""
        cells = self._post.submit(self._window_cells, values, window)
        self._windows.append(_Waiting(cells, window, seen, next_x0))
        yield from self._drain(self._queue_size)

    def finish(self) -> Iterator[geopandas.GeoDataFrame]:
        """Yield all remaining tables."""
        yield from self._drain(0)

    def _drain(self, allowed: int) -> Iterator[geopandas.GeoDataFrame]:
        with self._tally.timed("wait_for_windows"):
            while len(self._windows) > allowed or (self._windows and self._windows[0].cells.done()):
                self._settle(self._windows.popleft())
        while len(self._tables) > allowed or (self._tables and self._tables[0].done()):
            table = self._tables.popleft().result()
            table["cell_id"] += self._tally.cells
            self._tally.cells += len(table)
            yield table

    def _settle(self, waiting: _Waiting) -> None:
        geometry, tally = self._task.geometry, self._tally
        next_x0, _ = geometry.image_columns(waiting.next_x0, waiting.next_x0)
        self._frontier.forget(geometry.image_box(waiting.seen), next_x0)
        cells = waiting.cells.result()
        if waiting.window.ghost:
            self._frontier.claim(cells)
            return
        tally.windows += 1
        tally.windows_grown += cells.grown
        tally.cells_cut += cells.n_cut
        self._tables.append(self._merge.submit(self._table, self._frontier.settle(cells)))
        tally.overlap_px, tally.duplicates = self._frontier.overlap_px, self._frontier.duplicates

    def _window_cells(self, values: AnyField, window: Window) -> WindowCells:
        task = self._task
        with self._tally.timed("postprocess"):
            return window_cells(values, window, task.geometry, task.settings.postprocess, task.maths)

    def _table(self, cells: WindowCells) -> geopandas.GeoDataFrame:
        with self._tally.timed("trace"):
            return cell_table(cells, self._task.source.shape)
