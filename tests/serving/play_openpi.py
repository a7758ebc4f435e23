"""An episode that the real openpi-client drives; run in an environment of its own, which has NumPy 1.

    python play_openpi.py HOST PORT TOKEN OBSERVATIONS.npz

prints the sums of the numbers of each action, as JSON.
"""

import json
import sys

import numpy as np
from openpi_client import websocket_client_policy

host, port, token, path = sys.argv[1:]
policy = websocket_client_policy.WebsocketClientPolicy(host, int(port), api_key=token)
assert policy.get_server_metadata()["task"] == "made/robot"
arrays = dict(np.load(path))
sums = []
for step in range(len(arrays["joints"])):
    observation = {key: values[step] for key, values in arrays.items()}
    action = policy.infer({**observation, "instruction": "lift the cube"})
    assert action["server_timing"]["infer_ms"] >= 0
    sums.append([int(action["gripper"]), *map(float, action["arm"])])
try:
    policy.infer({**observation, "instruction": 5})
except RuntimeError as error:
    assert "expected a text" in str(error), error
print(json.dumps(sums))
