"""Readers that turn recordings made by others into episodes. May import episodes."""

from gato_jax.sources.bridge_writer import write_bridge_dataset
from gato_jax.sources.captions import emoji_captions
from gato_jax.sources.dialogue import chatterbot_dialogues
from gato_jax.sources.fields import Fields
from gato_jax.sources.opening import KINDS, open_source
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, GeneratedEpisodes, SourceError
from gato_jax.sources.rlds import RLDS_DATASETS, RldsDataset, open_rlds

__all__ = [
    "EpisodeReader",
    "EpisodeRejected",
    "Fields",
    "GeneratedEpisodes",
    "KINDS",
    "RLDS_DATASETS",
    "RldsDataset",
    "SourceError",
    "chatterbot_dialogues",
    "emoji_captions",
    "open_rlds",
    "open_source",
    "write_bridge_dataset",
]
