"""Samples are opened once, closed when others are looked at, and opened anew when their files change."""

import threading
import time
from typing import Any

import pytest

from cohortseg.viewer.sessions import MOST_OPEN, Sessions, UnknownSampleError


class FakeImage:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class FakeFiles:
    def __init__(self, state: int) -> None:
        self.state = state
        self.image = FakeImage()

    def open_image(self) -> FakeImage:
        return self.image


class Opener:
    def __init__(self) -> None:
        self.opened: list[tuple[str, FakeFiles]] = []
        self.now = 0

    def files(self, name: str) -> Any:
        time.sleep(0.01)
        if name == "unknown":
            raise UnknownSampleError
        files = FakeFiles(self.now)
        self.opened.append((name, files))
        return files

    def state(self, _: str) -> int:
        return self.now


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def sessions(opener: Opener) -> Sessions:
    return Sessions(opener.files, opener.state)


def look_at(sessions: Sessions, name: str) -> Any:
    with sessions.use(name) as session:
        return session.image


def test_those_looked_at_last_stay_open(sessions: Sessions, opener: Opener) -> None:
    images = {name: look_at(sessions, name) for name in map(str, range(MOST_OPEN))}
    look_at(sessions, "0")
    look_at(sessions, "new")
    assert [name for name, image in images.items() if image.closed] == ["1"]
    assert look_at(sessions, "0") is images["0"]
    assert len(opener.opened) == MOST_OPEN + 1
    sessions.close()
    assert all(image.closed == 1 for image in images.values())


def test_one_in_use_is_closed_when_it_is_left(sessions: Sessions) -> None:
    with sessions.use("held") as held:
        image: Any = held.image
        for name in map(str, range(MOST_OPEN)):
            look_at(sessions, name)
        assert not image.closed
    assert image.closed == 1


def test_files_that_changed_are_opened_anew(sessions: Sessions, opener: Opener) -> None:
    before = look_at(sessions, "a")
    opener.now = 1
    assert look_at(sessions, "a") is not before
    assert before.closed == 1


def test_many_at_once_open_it_once(sessions: Sessions, opener: Opener) -> None:
    threads = [threading.Thread(target=look_at, args=(sessions, "a")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opener.opened) == 1


def test_one_that_cannot_be_opened_is_tried_again(sessions: Sessions) -> None:
    for _ in range(2):
        with pytest.raises(UnknownSampleError), sessions.use("unknown"):
            pass
