"""Episodes in Parquet files of the Hugging Face Hub."""

from gato_jax.sources.parquet.reader import open_parquet

__all__ = ["open_parquet"]
