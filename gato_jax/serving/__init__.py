"""The policy over a network, and the control loop of a robot.

May import policy, checkpoints, tokenization, episodes, runtime. Only `agent` imports JAX.
"""

from gato_jax.serving.authentication import AccessError, Token, generate_token, read_certificate, require_safe
from gato_jax.serving.limits import Limits
from gato_jax.serving.observations import ObservationError, check_observation, largest_observation
from gato_jax.serving.policy import ServedPolicy, neutral_observation
from gato_jax.serving.secret_file import SecretFileError, read_secret
from gato_jax.serving.server import PolicyServer
from gato_jax.serving.wire import WireError, pack, unpack

__all__ = [
    "AccessError",
    "Limits",
    "ObservationError",
    "PolicyServer",
    "SecretFileError",
    "ServedPolicy",
    "Token",
    "WireError",
    "check_observation",
    "generate_token",
    "largest_observation",
    "neutral_observation",
    "pack",
    "read_certificate",
    "read_secret",
    "require_safe",
    "unpack",
]
