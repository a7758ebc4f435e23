"""The message format of vla-eval (protocol 1): maps of type, payload, seq and timestamp.

`hello` is answered by `hello`, and `observation` by `action` or `error` with the same seq; `episode_start` and
`episode_end` have no answer. The payload of an action has the keys of the task's action, and `actions`, all of its
numbers in one vector, which is the key that vla-eval's benchmarks read. Benchmarks send all that they have, so keys
that the task does not have are left out.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from websockets.frames import CloseCode

from gato_jax.serving.images import decode_image
from gato_jax.serving.session import Link, RequestError, RobotSession
from gato_jax.serving.wire import WireError, pack, unpack

PROTOCOL = 1
ALL_NUMBERS = "actions"
_FIELDS = {"type": str, "payload": dict, "seq": int, "timestamp": (int, float)}


async def converse(link: Link, session: RobotSession, about: Mapping[str, Any]):
    """Answer the messages of one robot until it has gone.

    Args:
      link: the connection.
      session: the episodes of the robot.
      about: facts about policy and task, part of the answer to `hello`.
    """
    while (data := await link.receive()) is not None:
        try:
            kind, payload, seq = _read(data)
        except WireError as error:
            await link.send(_message("error", {"error": str(error)}, 0))
            return await link.end(CloseCode.INVALID_DATA, "a message cannot be read", "malformed")
        try:
            answer = await _answer(session, kind, payload, about)
        except RequestError as error:
            answer = "error", {"error": str(error)}
        if answer is not None:
            await link.send(_message(*answer, seq))


async def _answer(
    session: RobotSession, kind: str, payload: dict[str, Any], about: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    """Return the type and the payload of the answer to a message; None for no answer."""
    match kind:
        case "hello":
            version = f"gato_jax {importlib.metadata.version('gato_jax')}"
            return "hello", {
                "harness_version": version, "protocol_version": PROTOCOL, "model_server": version, "capabilities": {},
                "gato_jax": dict(about),
            }  # fmt: skip
        case "episode_start":
            await session.begin(payload.get("seed"), payload.get("prompt"))
            return None
        case "observation":
            action = (await session.act(payload, ignore_others=True)).action
            numbers = [np.ravel(value).astype(np.float32) for value in action.values()]
            return "action", {ALL_NUMBERS: np.concatenate(numbers), **action}
        case "episode_end" | "error":
            return None
    raise RequestError(
        f"the type of a message is {kind!r:.40}, expected hello, observation, episode_start or episode_end."
    )


def _read(data: bytes) -> tuple[str, dict[str, Any], int]:
    message = unpack(data, images=decode_image)
    for name, kinds in _FIELDS.items():
        if not isinstance(message.get(name), kinds):
            raise WireError(
                f"cannot read a message: {name} is of {type(message.get(name)).__name__}, expected {kinds}."
            )
    return message["type"], message["payload"], message["seq"]


def _message(kind: str, payload: Mapping[str, Any], seq: int) -> bytes:
    message = {"type": kind, "payload": payload, "seq": seq, "timestamp": time.time()}
    return pack(message, byte_keys=False)
