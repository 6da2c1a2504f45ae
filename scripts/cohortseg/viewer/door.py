"""Connections that ask for nothing, or for nothing that may be answered, are closed: others need their places."""

import asyncio
from collections.abc import Callable

from aiohttp import web

_PATIENCE_S = 10.0
_MOST_WAITING, _HURRY_S = 128, 0.5


class Door:
    """Lets connections in for a while, and those stay that have asked for something which may be answered."""

    def __init__(self) -> None:
        self._waiting: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def opened_by(self, server: web.Server) -> Callable[[], web.RequestHandler]:
        """Return what makes the protocol of each connection, for `loop.create_server`."""

        def connect() -> web.RequestHandler:
            handler = server()
            patience = _PATIENCE_S
            if len(self._waiting) >= _MOST_WAITING:
                self._forget_closed()
                patience = _HURRY_S if len(self._waiting) >= _MOST_WAITING else _PATIENCE_S
            timer = asyncio.get_running_loop().call_later(patience, self._close, handler)
            self._waiting[handler] = timer
            return handler

        return connect

    def let_in(self, request: web.Request) -> None:
        """Have the connection of a request stay."""
        timer = self._waiting.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()

    def _close(self, handler: web.RequestHandler) -> None:
        del self._waiting[handler]
        if handler.transport is not None:
            handler.transport.abort()

    def _forget_closed(self) -> None:
        for handler in [each for each in self._waiting if each.transport is None]:
            self._waiting.pop(handler).cancel()
