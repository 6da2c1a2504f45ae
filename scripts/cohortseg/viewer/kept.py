"""Tiles that were drawn, kept for when they are asked for again."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock


class Kept:
    """The bytes that were used last; several threads may use it at once.

    Parameters
    ----------
    limit_bytes
        Their sum.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = Lock()
        self._bytes: OrderedDict[Hashable, bytes] = OrderedDict()
        self._sum = 0

    def get(self, key: Hashable) -> bytes | None:
        """Return what was put under a key, None where it is not kept."""
        with self._lock:
            if key in self._bytes:
                self._bytes.move_to_end(key)
            return self._bytes.get(key)

    def put(self, key: Hashable, content: bytes) -> None:
        """Keep something, and forget what was not used for longest."""
        with self._lock:
            self._sum += len(content) - len(self._bytes.pop(key, b""))
            self._bytes[key] = content
            while self._sum > self._limit_bytes:
                self._sum -= len(self._bytes.popitem(last=False)[1])
