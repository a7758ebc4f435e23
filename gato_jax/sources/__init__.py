"""Readers that turn recordings in foreign formats into episodes, one package for each format. May import episodes."""

from gato_jax.sources.contents import MissingFieldsError
from gato_jax.sources.field_proposals import Proposal, propose_fields
from gato_jax.sources.fields import Fields
from gato_jax.sources.hdf5 import HDF5_LAYOUTS, open_hdf5
from gato_jax.sources.images import emoji_captions, open_image_text, open_vqa
from gato_jax.sources.language import chatterbot_dialogues, open_dialogues, open_documents
from gato_jax.sources.lerobot import open_lerobot
from gato_jax.sources.mcap import open_mcap
from gato_jax.sources.minari import open_minari
from gato_jax.sources.opening import KINDS, open_source, open_splits
from gato_jax.sources.parquet import open_parquet
from gato_jax.sources.reader import (
    EpisodeReader,
    EpisodeRejected,
    GeneratedEpisodes,
    NoSplitError,
    RecordedEpisodes,
    SourceError,
)
from gato_jax.sources.rlds import RLDS_DATASETS, TFDS_TEXT, open_rlds, open_tfds_text, write_bridge_dataset

__all__ = [
    "EpisodeReader",
    "EpisodeRejected",
    "Fields",
    "GeneratedEpisodes",
    "HDF5_LAYOUTS",
    "KINDS",
    "MissingFieldsError",
    "NoSplitError",
    "Proposal",
    "RLDS_DATASETS",
    "RecordedEpisodes",
    "SourceError",
    "TFDS_TEXT",
    "chatterbot_dialogues",
    "emoji_captions",
    "open_dialogues",
    "open_documents",
    "open_hdf5",
    "open_image_text",
    "open_lerobot",
    "open_mcap",
    "open_minari",
    "open_parquet",
    "open_rlds",
    "open_source",
    "open_splits",
    "open_tfds_text",
    "open_vqa",
    "propose_fields",
    "write_bridge_dataset",
]
