"""Samples that are looked at: opened when first asked for, closed when others have been looked at since."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Any

from cohortseg.stores.cell_rows import CellRows
from cohortseg.stores.memory import release_memory
from cohortseg.stores.polygons import BoxReader
from cohortseg.viewer.labels import LabelView
from cohortseg.viewer.pixels import ImageView

MOST_OPEN = 3
"""Samples that are open at once: each may hold some 150 MB of decoded tiles."""


class UnknownSampleError(Exception):
    """There is no sample of a name."""


@dataclass(frozen=True)
class SampleFiles:
    """What there is of a sample, not opened yet.

    Attributes
    ----------
    metadata
        metadata.json.
    shape
        (y, x) of the image at full resolution.
    labels
        Its cells as labels.
    has_mask
        Whether these come from a label image; else they are drawn.
    polygons
        Their outlines.
    columns
        Names of what is known of each cell.
    n_cells
        How many there are.
    state
        Differs once any of the files is another.
    open_image
        Opens the image.
    open_cells
        Opens the table of cells.
    """

    metadata: Mapping[str, Any]
    shape: tuple[int, int]
    labels: LabelView
    has_mask: bool
    polygons: BoxReader
    columns: list[str]
    n_cells: int
    state: Hashable
    open_image: Callable[[], ImageView]
    open_cells: Callable[[], CellRows]


class Session:
    """A sample that is looked at; several threads may use it at once."""

    def __init__(self, files: SampleFiles) -> None:
        self.files = files
        self._image_lock, self._cells_lock = Lock(), Lock()
        self._image: ImageView | None = None
        self._cells: CellRows | None = None
        self._ranges: dict[int, tuple[float, float, float, float]] = {}
        self.n_users = 0

    @property
    def image(self) -> ImageView:
        """The image, opened; an image that cannot be is tried again the next time."""
        with self._image_lock:
            if self._image is None:
                self._image = self.files.open_image()
            return self._image

    @property
    def cells(self) -> CellRows:
        """The table of cells, opened."""
        with self._cells_lock:
            if self._cells is None:
                self._cells = self.files.open_cells()
            return self._cells

    def value_range(self, channel: int) -> tuple[float, float, float, float]:
        """Return `ImageView.value_range` of a channel, found once."""
        if channel not in self._ranges:
            self._ranges[channel] = self.image.value_range(channel)
        return self._ranges[channel]

    def close(self) -> None:
        """Release the image."""
        if self._image is not None:
            self._image.close()
            release_memory()


class Sessions:
    """The samples that are open, at most MOST_OPEN and those in use; several threads may use it at once.

    Parameters
    ----------
    files
        Returns what there is of a sample; UnknownSampleError for one that there is not.
    state
        Returns the `state` that the files of a sample have now.
    """

    def __init__(self, files: Callable[[str], SampleFiles], state: Callable[[str], Hashable]) -> None:
        self._files, self._state = files, state
        self._changed = Condition()
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._opening: set[str] = set()

    @contextmanager
    def use(self, name: str) -> Iterator[Session]:
        """Hold a sample open; it is opened anew where its files are others than before."""
        state = self._state(name)
        with self._changed:
            self._changed.wait_for(lambda: name not in self._opening)
            session = self._open.get(name)
            if session is not None and session.files.state == state:
                self._open.move_to_end(name)
                session.n_users += 1
            else:
                self._opening.add(name)
                session = None
        if session is None:
            session = self._opened(name)
        try:
            yield session
        finally:
            self._leave(session)

    def close(self) -> None:
        """Close all; none may be in use."""
        for session in self._open.values():
            session.close()

    def _opened(self, name: str) -> Session:
        """Open a sample, of which no other thread does, and have it used by this one."""
        try:
            session = Session(self._files(name))
        except BaseException:
            with self._changed:
                self._opening.discard(name)
                self._changed.notify_all()
            raise
        session.n_users = 1
        with self._changed:
            old = self._open.pop(name, None)
            self._open[name] = session
            self._opening.discard(name)
            gone = [] if old is None else [old]
            while len(self._open) > MOST_OPEN:
                gone.append(self._open.popitem(last=False)[1])
            gone = [each for each in gone if each.n_users == 0]
            self._changed.notify_all()
        for each in gone:
            each.close()
        return session

    def _leave(self, session: Session) -> None:
        with self._changed:
            session.n_users -= 1
            is_over = session.n_users == 0 and session not in self._open.values()
        if is_over:
            session.close()
