"""Which pieces of which episodes make a row, and a loader over the rows. May import episodes, tokenization."""

from gato_jax.batching.batch import Batch
from gato_jax.batching.dataset_config import DatasetConfig, MixtureError
from gato_jax.batching.export import Export, Exported
from gato_jax.batching.loader import Loader
from gato_jax.batching.mixture import Budgets, Mixture
from gato_jax.batching.parquet import ExportError, read_contract, read_rows, tokens_of_row
from gato_jax.batching.records import RecordsError, TokenRecords, write_records
from gato_jax.batching.weights import weigh

__all__ = [
    "Batch",
    "Budgets",
    "DatasetConfig",
    "Export",
    "ExportError",
    "Exported",
    "Loader",
    "Mixture",
    "MixtureError",
    "RecordsError",
    "TokenRecords",
    "read_contract",
    "read_rows",
    "tokens_of_row",
    "weigh",
    "write_records",
]
