"""Parquet as the Hugging Face hub has it."""

from gato_jax.sources.parquet.reader import open_parquet

__all__ = ["open_parquet"]
