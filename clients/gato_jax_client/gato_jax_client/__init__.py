"""Client of gato_jax's policy server, and a control loop in real time. Needs NumPy, msgpack and websockets only."""

from gato_jax_client.client import (
    ClientError,
    ConnectionFailure,
    PolicyClient,
    RefusedError,
    Reply,
)
from gato_jax_client.loop import ControlLoop, Robot
from gato_jax_client.report import LoopReport
from gato_jax_client.robot import (
    RobotError,
    continuous,
    describe,
    discrete,
    from_vector,
    image,
    require_robot,
    text,
    to_vector,
)
from gato_jax_client.secret_file import SecretFileError, read_secret
from gato_jax_client.smoothing import Smoothing

__all__ = [
    "ClientError",
    "ConnectionFailure",
    "ControlLoop",
    "LoopReport",
    "PolicyClient",
    "RefusedError",
    "Reply",
    "Robot",
    "RobotError",
    "SecretFileError",
    "Smoothing",
    "continuous",
    "describe",
    "discrete",
    "from_vector",
    "image",
    "read_secret",
    "require_robot",
    "text",
    "to_vector",
]
