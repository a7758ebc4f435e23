"""The `Actor` protocol, the one loop that plays episodes with any actor, and their recording as datasets.

May import runtime, episodes, environments.
"""

from gato_jax.rollouts.actor import Action, Actor, ActorFailure
from gato_jax.rollouts.baselines import ConstantActor, RandomActor, random_action
from gato_jax.rollouts.collection import record, record_all
from gato_jax.rollouts.kept_episodes import KeptEpisodes
from gato_jax.rollouts.nearest_neighbour import NearestNeighbourActor, NearestNeighbourError
from gato_jax.rollouts.on_beam import SHARD_EPISODES, record_on_beam
from gato_jax.rollouts.play import play
from gato_jax.rollouts.player import Player
from gato_jax.rollouts.recording import Recording
from gato_jax.rollouts.session import Failure, Recorded, RecordingError, require_finished
from gato_jax.rollouts.workers import WorkerError

__all__ = [
    "Action",
    "Actor",
    "ActorFailure",
    "ConstantActor",
    "KeptEpisodes",
    "NearestNeighbourActor",
    "NearestNeighbourError",
    "Player",
    "RandomActor",
    "SHARD_EPISODES",
    "Failure",
    "Recorded",
    "Recording",
    "RecordingError",
    "WorkerError",
    "play",
    "random_action",
    "record",
    "record_all",
    "record_on_beam",
    "require_finished",
]
