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
            _LOGGER.info(
                "%d of %d tiles, %d cells, %s, %.0f s left",
                tally.tiles_done, tally.tiles, tally.cells, _speed(tally, now - start), left_s,
            )  # fmt: skip

    return report


@contextmanager
def progress_bar(name: str) -> Iterator[OnProgress]:
    """Show a bar on standard error while an image is segmented: tiles done, cells, pixels a second, time left.

    Where standard error is no terminal, lines are logged now and then instead.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield log_progress()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles, {task.fields[cells]} cells, {task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None, cells=0, speed="starting")

        def report(tally: Tally) -> None:
            speed = _speed(tally, time.monotonic() - start)
            bar.update(task, total=tally.tiles, completed=tally.tiles_done, cells=tally.cells, speed=speed)

        yield report


def _speed(tally: Tally, elapsed_s: float) -> str:
    return f"{tally.done_px / max(elapsed_s, 1e-3) / 1e6:.2f} Mpx/s"


@contextmanager
def pixel_bar(name: str, total_px: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error that is told how many pixels were worked off; from any thread."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total_px)
        yield lambda done_px: bar.advance(task, done_px)
