"""Addresses that a server of this machine listens on, and its end by a signal."""

from __future__ import annotations

import asyncio
import errno
import getpass
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any


class ListenError(ValueError):
    """An address that cannot be listened on; the message names host, port and remedy."""


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_free(host: str, port: int):
    """Raise an error if another program listens on the port, before anything slow is done.

    Raises:
      ListenError: Another program listens there, or the address is none of this machine.
    """
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # one address of several, such as ::1 of localhost, may be missing
            raise listen_error(host, port, error) from error


def listen_error(host: str, port: int, error: OSError) -> ListenError:
    """Return the error that says that an address cannot be listened on."""
    return ListenError(
        f"cannot listen: the host is {host} and --port is {port}, expected an address of this machine and a free port "
        f"({error.strerror or error}). Name others; --port=0 takes a free port."
    )


def format_address(scheme: str, host: str, port: int) -> str:
    """Return the address of a server, such as `http://127.0.0.1:8000` or `ws://[::1]:8000`."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def tunnel_hint(address: str) -> str:
    """Return the sentence on how a browser of another machine opens an address of this machine."""
    port = address.rpartition(":")[2]
    try:
        login = f"{getpass.getuser()}@"
    except (KeyError, OSError):  # the user has no name, as in some containers
        login = ""
    return (
        f"from another machine: ssh -L {port}:127.0.0.1:{port} {login}{socket.gethostname()}, then open {address} there"
    )


def quiet_logger(name: str) -> logging.Logger:
    """Return a logger that drops the tracebacks of clients that fail in their handshake."""
    logger = logging.getLogger(f"{name}.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger


def serve_until_signal(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]):
    """Run a server until SIGINT or SIGTERM.

    Args:
      run: Coroutine function that serves until the event that it is given is set.
    """

    async def serve():
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await run(stop)

    asyncio.run(serve())
