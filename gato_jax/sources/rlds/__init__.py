"""Readers of datasets prepared by TFDS: RLDS recordings, texts and captions, with a table of those known by name."""

from gato_jax.sources.rlds.bridge_writer import write_bridge_dataset
from gato_jax.sources.rlds.reader import open_rlds
from gato_jax.sources.rlds.tables import RLDS_DATASETS
from gato_jax.sources.rlds.tfds_names import missing_tfds
from gato_jax.sources.rlds.tfds_text import TFDS_TEXT, open_tfds_text

__all__ = ["RLDS_DATASETS", "TFDS_TEXT", "missing_tfds", "open_rlds", "open_tfds_text", "write_bridge_dataset"]
