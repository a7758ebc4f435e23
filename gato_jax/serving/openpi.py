"""The message format of openpi: metadata first, then an observation and an action in turn.

An answer holds the keys of the action, and `server_timing` in milliseconds: `infer_ms` of the policy, `wait_ms` until
its batch began, and `prev_total_ms` of the message before. A refused observation is answered by a text that says why.

An observation may hold one more key, `__episode__`: a map, with which an episode begins at this observation. Its key
`seed` may give the seed of the samples, and `prompt` a demonstration. Without it, a connection is one episode.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from websockets.frames import CloseCode

from gato_jax.serving.session import Link, RequestError, RobotSession
from gato_jax.serving.wire import WireError, pack, unpack

EPISODE = "__episode__"
TIMING = "server_timing"


async def converse(link: Link, session: RobotSession, about: Mapping[str, Any]):
    """Answer the messages of one robot until it has gone.

    Args:
      link: the connection.
      session: the episodes of the robot.
      about: facts about policy and task, the first message.
    """
    await link.send(pack(about, byte_keys=True))
    previous: dict[str, float] = {}
    while (data := await link.receive()) is not None:
        begin = time.monotonic()
        try:
            answer = await _answer(session, unpack(data))
        except WireError as error:
            await link.send(str(error))
            return await link.end(CloseCode.INVALID_DATA, "a message cannot be read", "malformed")
        except RequestError as error:
            await link.send(str(error))
            continue
        answer[TIMING] |= previous
        await link.send(pack(answer, byte_keys=True))
        previous = {"prev_total_ms": 1000 * (time.monotonic() - begin)}


async def _answer(session: RobotSession, message: dict[str, Any]) -> dict[str, Any]:
    if EPISODE in message:
        episode = message.pop(EPISODE)
        if not isinstance(episode, dict) or not episode.keys() <= {"seed", "prompt"}:
            raise RequestError(f"{session.spec.name}: {EPISODE} is not a map with the keys seed and prompt. Send {{}}.")
        await session.begin(episode.get("seed"), episode.get("prompt"))
    acted = await session.act(message)
    timing = {"infer_ms": 1000 * acted.acted_s, "wait_ms": 1000 * acted.waited_s, "batch": acted.batch}
    return {**acted.action, TIMING: timing}
