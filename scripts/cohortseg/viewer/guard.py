"""Who may talk to the viewer: browsers of this computer that were given its token.

Loopback is shared by all users of a computer, and by every page that a browser shows. The token keeps the first out,
the checks of Host, Origin and Sec-Fetch-Site the second, also where a foreign name was pointed at 127.0.0.1.
"""

import hmac
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Of every answer."""

_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
"""Any port: `ssh -L` may show the viewer at another one."""

_READS = ("GET", "HEAD")
_WRITES = ("POST", "DELETE")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """An answer other than what was asked for: a status, and a sentence for people."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Guard:
    """Tells whether a request may be answered.

    Parameters
    ----------
    token
        What the URL or the cookie must hold.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def check(self, request: web.Request) -> None:
        """Raise RefusedError where the request may not be answered."""
        host = request.headers.get("Host", "")
        if not _OWN_HOST.fullmatch(host):
            raise RefusedError(403, "Only 127.0.0.1 and localhost are answered.")
        if request.method not in (*_READS, *_WRITES):
            raise RefusedError(405, "Only GET, HEAD, POST and DELETE are answered.")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not self._brings_token(
            request
        ):
            raise RefusedError(403, "Pages of other origins are not answered.")
        if request.method in _WRITES and request.headers.get("Origin") != f"http://{host}":
            raise RefusedError(403, "Only the viewer's own page may write.")
        if not (self._brings_token(request) or self._is_token(request.cookies.get(self.cookie_name(host), ""))):
            raise RefusedError(403, "Open the whole address that `cohortseg view` printed, with its token.")

    def welcome(self, request: web.Request, response: web.StreamResponse) -> None:
        """Give the browser that brought the token a cookie with it, for what the page asks for next."""
        if self._brings_token(request):
            name = self.cookie_name(request.headers["Host"])
            response.set_cookie(name, self._token, httponly=True, samesite="Strict", path="/")

    @staticmethod
    def cookie_name(host: str) -> str:
        """Return the name of the cookie: browsers share cookies among the ports of a host, and viewers must not."""
        return f"cohortseg-{host.rpartition(':')[2]}"

    def _brings_token(self, request: web.Request) -> bool:
        return request.path == "/" and self._is_token(request.query.get("token", ""))

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(errors="replace"), self._token.encode())
