"""The server of the viewer: what is asked of it over HTTP, answered by the other modules of this room."""

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from cohortseg.errors import CohortsegError
from cohortseg.stores.flags import Flag, Flags
from cohortseg.viewer.answers import cell_at, cell_of, describe, words_of
from cohortseg.viewer.assets import INDEX, read_assets
from cohortseg.viewer.door import Door
from cohortseg.viewer.guard import HEADERS, Guard, Handler, RefusedError
from cohortseg.viewer.queries import MOST_BODY_BYTES, parse_flag, pixel, whole
from cohortseg.viewer.sessions import SampleFiles, Sessions, UnknownSampleError
from cohortseg.viewer.tiles import Tile, TileRequest, Tiles
from cohortseg.viewer.work import Workers

_LOGGER = logging.getLogger("cohortseg")
_BODY_PATIENCE_S = 10
_MOST_TOLD = 1000
_TILE = "{level:[0-9]{1,2}}/{column:[0-9]{1,7}}_{row:[0-9]{1,7}}"
_WORDS = {404: "There is nothing at this address.", 405: "This cannot be done here.", 413: "The request is too long."}


class Results(Protocol):
    """A folder of results, as the server needs it; called from several threads."""

    @property
    def flags(self) -> Flags:
        """What people said of its cells."""

    def cohort(self) -> dict[str, Any]:
        """Return title, samples and stacks, read anew."""

    def state(self, sample: str) -> Hashable:
        """Return what differs once the files of a sample are others; UnknownSampleError where there is none."""

    def files(self, sample: str) -> SampleFiles:
        """Return what there is of a sample; UnknownSampleError where there is none."""


class ViewerServer:
    """Answers for one folder of results; to be used in one event loop.

    Parameters
    ----------
    results
        What is shown.
    token
        What the page must bring.
    """

    def __init__(self, results: Results, token: str) -> None:
        self._results = results
        self._guard = Guard(token)
        self._assets = read_assets()
        self._sessions = Sessions(results.files, results.state)
        self._tiles = Tiles(self._sessions)
        self._workers = Workers()
        self._door = Door()
        self._told: set[str] = set()

    async def serve(self, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
        """Listen on 127.0.0.1 until `stop` is set.

        Parameters
        ----------
        port
            0 for any that is free.
        ready
            Told the port once it is open.

        Raises
        ------
        OSError
            The port is taken.
        """
        runner = web.AppRunner(
            self._application(), access_log=None, logger=_silent(), shutdown_timeout=1.0, handler_cancellation=True
        )
        await runner.setup()
        try:
            assert runner.server is not None
            server = await asyncio.get_running_loop().create_server(
                self._door.opened_by(runner.server), "127.0.0.1", port
            )
            try:
                ready(server.sockets[0].getsockname()[1])
                await stop.wait()
            finally:
                server.close()
        finally:
            await runner.cleanup()
            await asyncio.to_thread(self._workers.close)
            await asyncio.to_thread(self._sessions.close)

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer], client_max_size=MOST_BODY_BYTES)
        app.on_response_prepare.append(_add_headers)
        sample = "/api/samples/{sample}"
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/assets/{name}", self._asset),
                web.get("/api/cohort", self._cohort),
                web.get(sample, self._sample),
                web.get(f"{sample}/progress", self._progress),
                web.get(f"{sample}/image/{_TILE}.jpg", self._image),
                web.get(f"{sample}/outlines/{_TILE}.png", self._outlines),
                web.get(f"{sample}/cell", self._cell),
                web.get(f"{sample}/flags", self._flags),
                web.post(f"{sample}/flags", self._put_flag),
                web.delete(f"{sample}/flags/{{cell_id}}", self._remove_flag),
            ]
        )
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer, with what went wrong as JSON: no traceback, and no path of this computer."""
        try:
            self._guard.check(request)
            self._door.let_in(request)
            response = await handler(request)
            self._guard.welcome(request, response)
            return response
        except RefusedError as error:
            return _refusal(error.status, error.words)
        except web.HTTPException as error:
            return _refusal(error.status, _WORDS.get(error.status, "This cannot be answered."))
        except UnknownSampleError:
            return _refusal(404, "There are no results of this sample: it failed, or was not segmented yet.")
        except CohortsegError as error:
            self._tell(error)
            return _refusal(422, words_of(error))
        except Exception:
            _LOGGER.exception("The viewer could not answer")
            return _refusal(500, "The viewer could not answer; its terminal says why.")

    def _tell(self, error: CohortsegError) -> None:
        """Say once on the terminal what is wrong: every tile of an image runs into it."""
        if str(error) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(str(error))
            _LOGGER.warning("%s", error)

    async def _page(self, _: web.Request) -> web.Response:
        asset = self._assets[INDEX]
        headers = {"Cache-Control": "no-store"}  # it would be shown without the cookie that its token brings
        return web.Response(body=asset.content, content_type=asset.media_type, charset="utf-8", headers=headers)

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise RefusedError(404, _WORDS[404])
        headers = {"Cache-Control": "no-cache"}
        return web.Response(body=asset.content, content_type=asset.media_type, charset="utf-8", headers=headers)

    async def _cohort(self, _: web.Request) -> web.Response:
        return _json(await self._workers.run("", self._results.cohort))

    async def _sample(self, request: web.Request) -> web.Response:
        def work(name: str) -> dict[str, Any]:
            with self._sessions.use(name) as session:
                return describe(name, session)

        return _json(await self._run(request, work))

    async def _progress(self, request: web.Request) -> web.Response:
        def work(name: str) -> dict[str, Any]:
            with self._sessions.use(name) as session:
                return {"done": session.image.done}

        return _json(await self._run(request, work))

    async def _image(self, request: web.Request) -> web.Response:
        return await self._tile(request, self._tiles.image, "image/jpeg")

    async def _outlines(self, request: web.Request) -> web.Response:
        return await self._tile(request, self._tiles.outlines, "image/png")

    async def _tile(self, request: web.Request, draw: Callable[[TileRequest], Tile], kind: str) -> web.Response:
        level, column, row = (int(request.match_info[name]) for name in ("level", "column", "row"))
        tile = await self._run(request, lambda name: draw(TileRequest(name, level, column, row, request)))
        caching = "private, max-age=300" if tile.complete else "no-store"
        headers = {"Cache-Control": caching, "X-Complete": "yes" if tile.complete else "no"}
        return web.Response(body=tile.content, content_type=kind, headers=headers)

    async def _cell(self, request: web.Request) -> web.Response:
        query = request.query
        place = None if "id" in query else (pixel(request, "y"), pixel(request, "x"))
        cell_id = whole(query["id"], "id") if "id" in query else 0

        def work(name: str) -> dict[str, Any]:
            with self._sessions.use(name) as session:
                found = cell_of(session, cell_id) if place is None else cell_at(session, *place)
            flag = self._results.flags.of_sample(name).get(found["cell_id"])
            return {**found, "flag": None if flag is None else _row(flag)}

        return _json(await self._run(request, work))

    async def _flags(self, request: web.Request) -> web.Response:
        def work(name: str) -> list[dict[str, Any]]:
            self._results.state(name)
            return [_row(flag) for flag in self._results.flags.of_sample(name).values()]

        return _json(await self._run(request, work))

    async def _put_flag(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            raise RefusedError(400, "The request is no JSON.")
        try:
            body = await asyncio.wait_for(request.read(), _BODY_PATIENCE_S)
        except TimeoutError as error:
            raise RefusedError(408, "The request took too long to come.") from error
        except web.HTTPException:
            raise
        except Exception as error:  # aiohttp's parsers and the connection have errors of their own
            raise RefusedError(400, "The request did not come whole.") from error
        wanted = parse_flag(body)

        def work(name: str) -> dict[str, Any]:
            with self._sessions.use(name) as session:
                if session.cells.find(wanted["cell_id"]) is None:
                    raise RefusedError(404, f"There is no cell {wanted['cell_id']}.")
            return _row(self._results.flags.put(name, **wanted))

        return _json(await self._run(request, work))

    async def _remove_flag(self, request: web.Request) -> web.Response:
        cell_id = whole(request.match_info["cell_id"], "The id of a cell")

        def work(name: str) -> dict[str, Any]:
            self._results.state(name)
            return {"removed": self._results.flags.remove(name, cell_id)}

        return _json(await self._run(request, work))

    async def _run(self, request: web.Request, work: Callable[[str], Any]) -> Any:
        name = request.match_info["sample"]
        return await self._workers.run(name, lambda: work(name))


def _silent() -> logging.Logger:
    """Return a logger of requests that are none: anyone on this computer could fill the terminal with them."""
    silent = logging.Logger("cohortseg.viewer")
    silent.addHandler(logging.NullHandler())
    return silent


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def _json(content: Any) -> web.Response:
    return web.json_response(content)


def _refusal(status: int, words: str) -> web.Response:
    return web.json_response({"error": words}, status=status)


def _row(flag: Flag) -> dict[str, Any]:
    """Return a flag as the page knows it."""
    row = asdict(flag)
    return {"cell_id": row["cell_id"], "flag": row["flag"], "x": row["x_px"], "y": row["y_px"]} | {
        name: row[name] for name in ("note", "flagged_at")
    }
