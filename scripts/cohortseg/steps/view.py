"""`cohortseg view`: a page on loopback that shows the images of a folder of results with their cells."""

import asyncio
import errno
import os
import secrets
import signal
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cohortseg.errors import SettingsError
from cohortseg.steps.view_files import ResultsFolder
from cohortseg.stores.memory import return_large_arrays
from cohortseg.viewer.server import ViewerServer


@dataclass(frozen=True)
class ViewOptions:
    """What the command line says: the folder, the port (0 for any that is free), whether to open a browser, and whether
    images are fetched from URLs."""

    results: Path
    port: int
    browser: bool
    remote: bool = False


def view_results(options: ViewOptions, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C, or until the process is told to end.

    Parameters
    ----------
    say
        Prints a line: the address of the page, with the token that opens it.

    Raises
    ------
    MissingFileError
        The folder is not there, or holds no results.
    SettingsError
        The port is taken.
    """
    return_large_arrays()
    token = secrets.token_urlsafe(24)

    def ready(port: int) -> None:
        url = f"http://127.0.0.1:{port}/?token={token}"
        say(f"{url}\nThe address opens the page for whoever has it. Ctrl-C ends the viewer.")
        if options.browser and _has_screen():
            webbrowser.open(url)

    with ExitStack() as stack:
        # Beside other temporary files: results may lie on a slow disk, or on one that is nearly full.
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="cohortseg-view-")))
        background = stack.enter_context(ThreadPoolExecutor(1, "viewer-levels"))
        results = ResultsFolder(options.results, scratch, background, remote=options.remote)
        asyncio.run(_serve(ViewerServer(results, token), options.port, ready))


async def _serve(server: ViewerServer, port: int, ready: Callable[[int], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await server.serve(port, ready, stop)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise SettingsError(
            f"port {port} is taken, or may not be used",
            "expected a free one, from 1024 on",
            "Name another with --port, or leave it out for any that is free.",
        ) from error


def _has_screen() -> bool:
    """Return whether a browser would open before the user's eyes, and not in the terminal or on a far computer."""
    return not os.environ.get("SSH_CONNECTION") and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
