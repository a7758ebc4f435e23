"""Token records and their cache, the mixture of datasets, the row index, and the loader of batches.

May import episodes, sources, tokenization and, for the names of tasks, environments.

The names below are imported when they are first used, so that configs are read and checked without JAX.
"""

from etils import epy

with epy.lazy_api_imports(globals()):
    from gato_jax.batching.batch import Batch
    from gato_jax.batching.cache import cache_root, cached_records
    from gato_jax.batching.cache_listing import CacheEntry, cache_entries, prune_cache, verify_cache
    from gato_jax.batching.dataset_config import DatasetConfig, MixtureError
    from gato_jax.batching.export import Export, Exported
    from gato_jax.batching.loader import Loader
    from gato_jax.batching.mixture import Budgets, Mixture
    from gato_jax.batching.opening import missing_reason, open_episodes, open_held_out, open_mixture, open_records
    from gato_jax.batching.parquet import ExportError, read_contract, read_rows, tokens_of_row
    from gato_jax.batching.prompt_report import count_prompts, describe_prompts
    from gato_jax.batching.record_writer import write_records
    from gato_jax.batching.records import RecordsError, TokenRecords
    from gato_jax.batching.weights import weigh

__all__ = [
    "Batch",
    "Budgets",
    "CacheEntry",
    "DatasetConfig",
    "Export",
    "ExportError",
    "Exported",
    "Loader",
    "Mixture",
    "MixtureError",
    "RecordsError",
    "TokenRecords",
    "cache_entries",
    "cache_root",
    "cached_records",
    "count_prompts",
    "describe_prompts",
    "missing_reason",
    "open_episodes",
    "open_held_out",
    "open_mixture",
    "open_records",
    "prune_cache",
    "read_contract",
    "read_rows",
    "tokens_of_row",
    "verify_cache",
    "weigh",
    "write_records",
]
