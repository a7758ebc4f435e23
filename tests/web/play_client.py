"""A served session, and a browser without a window that plays in it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import websockets.sync.client
from PIL import Image

from gato_jax.environments import load, task_spec
from gato_jax.experts import ExpertActor
from gato_jax.rollouts import Player
from gato_jax.web import LocalServer
from gato_jax.web.play import Keyboard, PlayPage, PlaySession, open_kept, person
from tests.web.running import running


class Client:
    """The browser: it acknowledges each message and remembers the newest scene and picture."""

    def __init__(self, socket):
        self._socket = socket
        self.scene: dict[str, Any] = {}
        self.picture: np.ndarray | None = None

    def send(self, do: str, **fields) -> None:
        self._socket.send(json.dumps({"do": do, **fields}))

    def receive(self) -> None:
        message = self._socket.recv(timeout=60)
        length = int.from_bytes(message[:4], "big")
        self.scene = json.loads(message[4 : 4 + length])
        if len(message) > 4 + length:
            self.picture = np.asarray(Image.open(io.BytesIO(message[4 + length :])))

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Looks on until the condition holds, and returns the scene."""
        while not (self.scene and condition(self.scene)):
            self.receive()
            self.send("drawn")
        return self.scene

    def shows(self, frame: np.ndarray) -> bool:
        return self.picture is not None and np.array_equal(self.picture, frame)

    def press(self, key: str) -> dict[str, Any]:
        """Taps a key of a task that waits for keys, and returns the scene after its step."""
        step = self.scene["step"]
        self.send("press", key=key)
        self.send("release", key=key)
        return self.until(lambda scene: scene["step"] > step or scene["status"] == "ended")


@contextlib.contextmanager
def playing(task: str, *, output=None, expert: bool = False, **settings) -> Iterator[tuple[PlaySession, str]]:
    """Yields a session of a task and its address; what is kept is a dataset afterwards."""
    keyboard = Keyboard()
    players = {"person": person(keyboard)}
    if expert:
        players["expert"] = Player(ExpertActor, ExpertActor().describe)
    kept = {} if output is None else open_kept(output, task_spec(task), players)
    session = PlaySession(task_spec(task), players, keyboard, kept=kept, **settings)
    page = PlayPage(session, output=str(output or ""))
    with running(LocalServer(page=page.page, converse=page.converse)) as address:
        session.start()
        try:
            yield session, address
        finally:
            session.close()
            for one in kept.values():
                one.finish()


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    with websockets.sync.client.connect(f"ws{address.removeprefix('http')}/", max_size=None) as socket:
        yield Client(socket)


def replayed(episode) -> list[float]:
    """The rewards, in float32, of the actions of an episode under its seed, in a new environment."""
    environment = load(episode.task)
    environment.seed(episode.seed)
    environment.reset()
    actions = [{key: value[t] for key, value in episode.action.items()} for t in range(episode.acting_steps)]
    return np.array([environment.step(action).reward for action in actions], np.float32).tolist()
