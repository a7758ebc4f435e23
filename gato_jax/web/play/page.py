"""The page of a played task: its HTML, and the websocket over which pictures go out and keys come in.

The server sends binary messages: four bytes with the length of the JSON of a `Scene`, in network order, the JSON, and
PNG or JPEG if there is a new picture. The page answers each with `{"do": "drawn"}`, and gets the next one only then, so
that a slow connection leaves pictures out and delays no keys. Its other messages are commands, see `_carry_out`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

import gato_jax
from gato_jax.web.local_server import Connection, Page
from gato_jax.web.play.session import PlaySession

# The frame and the style of all pages are those of reports, whose import would load JAX.
_TEMPLATES = (Path(__file__).parent, Path(gato_jax.__path__[0]) / "reports")


class PlayPage:
    """The page of a session. The first browser that opens it plays; others look on, and take over when it has gone.

    Args:
      session: The session, which is paused whenever the browser that plays goes.
      output: Where episodes are kept, in words; empty if they cannot be kept.
    """

    def __init__(self, session: PlaySession, *, output: str = ""):
        self._session, self._viewers = session, list[_Viewer]()
        environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True)
        template = environment.get_template("play.html")
        self._html = template.render(task=session.scene.task, output=output).encode()

    def page(self, path: str, query: Mapping[str, str]) -> Page | None:
        """Return the page of the path `/`, None for other paths."""
        return Page(self._html) if path == "/" else None

    async def converse(self, connection: Connection):
        """Show the session to one browser, and carry out its commands, until it has gone."""
        viewer = _Viewer(asyncio.get_running_loop())
        self._viewers.append(viewer)
        self._session.listen(viewer.notify)
        sending = asyncio.create_task(self._send(connection, viewer))
        try:
            async for message in connection:
                if not self._take(viewer, json.loads(message)):
                    await connection.close(CloseCode.POLICY_VIOLATION, "unknown message")
        finally:
            sending.cancel()
            self._session.forget(viewer.notify)
            self._leave(viewer)
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await sending

    def _leave(self, viewer: _Viewer):
        """Forget a viewer; if it played, pause, and let the next one play."""
        played = viewer is self._viewers[0]
        self._viewers.remove(viewer)
        if played:
            self._session.release()
            self._session.command("pause")
            for other in self._viewers[:1]:
                other.notify()

    async def _send(self, connection: Connection, viewer: _Viewer):
        """Send scene and picture whenever they have changed and the last ones are drawn."""
        sent = 0
        while True:
            self._session.ask_picture()
            await viewer.changed.wait()
            viewer.changed.clear()
            viewer.drawn.clear()
            scene, picture = self._session.scene, self._session.picture
            text = scene.to_json(role="player" if viewer is self._viewers[0] else "viewer").encode()
            data = b"" if picture is None or picture.number == sent else picture.data
            await connection.send(len(text).to_bytes(4, "big") + text + data)
            sent = 0 if picture is None else picture.number
            await viewer.drawn.wait()

    def _take(self, viewer: _Viewer, message: Any) -> bool:
        """Carry out a message of a browser; return False if it is none of the page's."""
        if not isinstance(message, dict):
            return False
        if message.get("do") == "drawn":
            viewer.drawn.set()
            return True
        if viewer is not self._viewers[0]:
            return True  # a button that was pressed when another browser took over
        try:
            _carry_out(self._session, message)
        except (KeyError, TypeError, ValueError):
            return False
        return True


def _carry_out(session: PlaySession, message: Mapping[str, Any]):
    """Carry out a message: `press` or `release` of a `key`, a `player`, a `speed`, or a command.

    Raises:
      KeyError, TypeError, ValueError: The message is none of these.
    """
    match message["do"]:
        case "press":
            session.press(str(message["key"]), is_repeat=bool(message.get("repeat")))
        case "release":
            session.release(message.get("key"))
        case "player":
            session.choose_player(message["player"])
        case "speed":
            session.choose_speed(float(message["speed"]))
        case command:
            session.command(command)


class _Viewer:
    """A browser that shows the page.

    Attributes:
      changed: set when there is something new to send.
      drawn: set when the browser has drawn what was sent last.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop, self._is_told = loop, False
        self.changed, self.drawn = asyncio.Event(), asyncio.Event()
        self.changed.set()

    def notify(self):
        """Set `changed`, from any thread; many calls in a row cost the loop one callback."""
        if not self._is_told:
            self._is_told = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self):
        self._is_told = False
        self.changed.set()
