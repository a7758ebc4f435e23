"""A server of pages and websockets for a browser on this machine.

Other machines cannot connect. Pages of other sites, which the same browser may show, can neither read nor connect: the
server answers only to names of this machine (a foreign name may be made to point here) and to its own pages.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http
import logging
import urllib.parse
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, cast

import websockets.asyncio.server
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

from gato_jax.runtime.listening import ListenError, format_address, is_loopback, listen_error, quiet_logger

Connection: TypeAlias = websockets.asyncio.server.ServerConnection

_MESSAGE_BYTES = 2**20
_OPEN_SECONDS = 120.0  # of a handshake, and thus of the making of a page
_CLOSE_SECONDS = 2.0
_ABORT_SECONDS = 0.1
_SOURCES = "default-src 'self' 'unsafe-inline' data: blob:"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"{_SOURCES}; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Page:
    """The answer to one request.

    Attributes:
      body: The content.
      content_type: The media type of the content.
    """

    body: bytes
    content_type: str = "text/html; charset=utf-8"


class LocalServer:
    """A server of pages and websockets on an address that this machine alone reaches.

    Args:
      page: Function that returns the page of a path (`/`, `/films/1.mp4`, ... without percent signs) and a query
        ({name: last value}), None if there is none. It is called in threads, so it may read files and compute.
      converse: Coroutine function that talks with one page over a websocket, whose path and query are in
        `connection.request.path`; the connection ends when it returns. None refuses websockets.
      host: Address or name of the interface to listen on.
      port: Port; 0 takes a free one.

    Raises:
      ListenError: Other machines can reach the host.
    """

    def __init__(
        self,
        *,
        page: Callable[[str, Mapping[str, str]], Page | None],
        converse: Callable[[Connection], Awaitable[None]] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ):
        if not is_loopback(host):
            raise ListenError(
                f"cannot listen: the host is {host}, expected 127.0.0.1 or ::1. Reach them from another machine by "
                "`ssh -L PORT:127.0.0.1:PORT`."
            )
        self._page, self._converse, self._host, self._port = page, converse, host, port

    async def run(self, stop: asyncio.Event, ready: Callable[[str], None]):
        """Serve until `stop` is set; then close all connections, and return when their conversations have ended.

        Args:
          stop: The event that ends the server.
          ready: Function that is called with the address, such as `http://127.0.0.1:8000`, when it is listened on.

        Raises:
          ListenError: The address cannot be listened on.
        """
        connections = weakref.WeakSet[Connection]()

        def connect(*arguments: Any, **settings: Any) -> Connection:
            connections.add(connection := Connection(*arguments, **settings))
            return connection

        try:
            server = await websockets.asyncio.server.serve(
                self._talk, self._host, self._port, process_request=cast(Any, self._answer),
                create_connection=cast(Any, connect), compression=None, max_size=_MESSAGE_BYTES,
                open_timeout=_OPEN_SECONDS, close_timeout=_CLOSE_SECONDS, server_header=None,
                logger=quiet_logger(__name__),
            )  # fmt: skip
        except OSError as error:
            raise listen_error(self._host, self._port, error) from error
        async with server:
            ready(format_address("http", *list(server.sockets)[0].getsockname()[:2]))
            await stop.wait()
            server.close()
            closed = asyncio.ensure_future(server.wait_closed())
            while not closed.done():
                for connection in connections:
                    # Browsers open connections before they need them.
                    if connection.state is State.CONNECTING and hasattr(connection, "transport"):
                        connection.transport.abort()
                await asyncio.wait([closed], timeout=_ABORT_SECONDS)

    async def _answer(self, connection: Connection, request: Request) -> Response | None:
        """Return the page that a request asks for, or None if it asks for a websocket that it may have."""
        if problem := _find_stranger(request.headers):
            return _respond(http.HTTPStatus.FORBIDDEN, problem)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return None if self._converse is not None else _respond(http.HTTPStatus.NOT_FOUND, "no websocket here")
        url = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        try:
            page = await asyncio.to_thread(self._page, urllib.parse.unquote(url.path), query)
        except Exception:
            _log.exception("a page failed: %s", request.path)
            return _respond(
                http.HTTPStatus.INTERNAL_SERVER_ERROR, "the page cannot be made; the log of the server says why"
            )
        if page is None:
            return _respond(http.HTTPStatus.NOT_FOUND, f"{url.path}: no such page")
        return _response(http.HTTPStatus.OK, page)

    async def _talk(self, connection: Connection):
        """Let `converse` talk over one websocket."""
        if self._converse is None:
            raise RuntimeError("a websocket was opened, expected none without a conversation")
        try:
            await self._converse(connection)
        except ConnectionClosed:
            pass  # the page has gone, or the server ends
        except Exception:
            _log.exception("a conversation failed")
            await connection.close(CloseCode.INTERNAL_ERROR, "internal error; the log of the server says why")


def _find_stranger(headers: Headers) -> str | None:
    """Return why a request is refused, None if it is meant for this machine and comes from a page of this server.

    The port is not compared with the server's own, as a forwarded one differs. Programs send no `Origin`.
    """
    hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
    host = hosts[0] if len(hosts) == 1 else ""
    try:
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if not is_loopback(name):
        return f"the host is {host!r:.100}, expected localhost or 127.0.0.1"
    if any(origin != f"http://{host}" for origin in origins):
        return f"the origin is {origins[0]!r:.100}, expected a page of this server"
    return None


def _respond(status: http.HTTPStatus, text: str) -> Response:
    return _response(status, Page(f"{text}\n".encode("utf-8", "replace"), "text/plain; charset=utf-8"))


def _response(status: http.HTTPStatus, page: Page) -> Response:
    fields = {"Content-Type": page.content_type, "Content-Length": str(len(page.body)), "Connection": "close"}
    return Response(status.value, status.phrase, Headers(_HEADERS | fields), page.body)
