"""An episode that the real client of vla-eval drives; run in an environment of its own.

    python play_vla_eval.py ADDRESS OBSERVATIONS.npz

prints the numbers of each action, as JSON.
"""

import asyncio
import json
import sys

import numpy as np
from vla_eval.connection import Connection


async def main(address: str, path: str):
    arrays = dict(np.load(path))
    async with Connection(address) as connection:
        assert connection.server_info["gato_jax"]["task"] == "made/robot"
        await connection.start_episode({"task": {"name": "made"}, "seed": 0})
        actions = []
        for step in range(len(arrays["joints"])):
            observation = {key: values[step] for key, values in arrays.items()}
            images = {key.partition("/")[2]: observation.pop(key) for key in list(observation) if "camera/" in key}
            action = await connection.act({**observation, "camera": images, "instruction": "lift the cube"})
            actions.append(np.asarray(action["actions"]).tolist())
        await connection.end_episode({"metrics": {}})
    print(json.dumps(actions))


asyncio.run(main(*sys.argv[1:]))
