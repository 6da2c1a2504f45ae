"""How far a segmentation is: plain lines for a log, a bar for a terminal."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from cohortseg.segment.tally import Tally

_LOGGER = logging.getLogger("cohortseg")
_LINE_EVERY_S = 20.0

OnProgress = Callable[[Tally], None]


def log_progress() -> OnProgress:
    """Return a callback that logs a line now and then."""
    start = last = time.monotonic()

    def report(tally: Tally) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S:
            last = now
            left_s = (now - start) * (tally.tiles - tally.tiles_done) / max(tally.tiles_done, 1)
            _LOGGER.info("%d of %d tiles, %d cells, %.0f s left", tally.tiles_done, tally.tiles, tally.cells, left_s)

    return report


@contextmanager
def progress_bar(name: str) -> Iterator[OnProgress]:
    """Show a bar on standard error while an image is segmented, with tiles done, cells and the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles, {task.fields[cells]} cells"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None, cells=0)
        yield lambda tally: bar.update(task, total=tally.tiles, completed=tally.tiles_done, cells=tally.cells)


@contextmanager
def pixel_bar(name: str, total_px: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error that is told how many pixels were worked off; from any thread."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total_px)
        yield lambda done_px: bar.advance(task, done_px)
