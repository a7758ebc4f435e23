"""Episodes and tasks, and their storage as standard RLDS datasets. Imports only runtime."""

from gato_jax.episodes.embodiment import Camera, Embodiment, Gripper, Joint
from gato_jax.episodes.episode import Episode, EpisodeError, Provenance
from gato_jax.episodes.errors import SpecError, StoreError
from gato_jax.episodes.modalities import Continuous, Discrete, Image, Modality, Text
from gato_jax.episodes.specs import TaskSpec
from gato_jax.episodes.store import (
    DatasetError,
    EpisodeDataset,
    EpisodeIndex,
    NoSplitError,
    dataset_name,
    find_dataset,
    list_datasets,
    open_dataset,
)
from gato_jax.episodes.writer import require_writable, write_dataset

__all__ = [
    "Camera",
    "Continuous",
    "DatasetError",
    "NoSplitError",
    "Discrete",
    "Embodiment",
    "Episode",
    "EpisodeDataset",
    "EpisodeError",
    "EpisodeIndex",
    "Gripper",
    "Image",
    "Joint",
    "Modality",
    "Provenance",
    "SpecError",
    "StoreError",
    "TaskSpec",
    "Text",
    "dataset_name",
    "find_dataset",
    "list_datasets",
    "open_dataset",
    "require_writable",
    "write_dataset",
]
