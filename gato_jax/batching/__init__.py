"""Which pieces of which episodes make a row, and a loader over the rows. May import episodes, tokenization."""

from gato_jax.batching.batch import Batch
from gato_jax.batching.loader import Loader
from gato_jax.batching.mixture import Mixture, MixtureEntry, MixtureError
from gato_jax.batching.records import RecordsError, TokenRecords, write_records

__all__ = [
    "Batch",
    "Loader",
    "Mixture",
    "MixtureEntry",
    "MixtureError",
    "RecordsError",
    "TokenRecords",
    "write_records",
]
