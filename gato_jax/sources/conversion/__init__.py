"""Conversion of recordings into datasets of gato_jax, on Apache Beam. May import episodes and the other sources."""

from gato_jax.sources.conversion.conditions import TooManyRejectedError, count_by_reason
from gato_jax.sources.conversion.filters import Deduplicate, EpisodeFacts, ExpertShare, Filter, SuccessOnly
from gato_jax.sources.conversion.job import Conversion, convert
from gato_jax.sources.conversion.manifest import ConversionError
from gato_jax.sources.conversion.shard_worker import Transform

__all__ = [
    "Conversion",
    "ConversionError",
    "Deduplicate",
    "ExpertShare",
    "EpisodeFacts",
    "Filter",
    "SuccessOnly",
    "TooManyRejectedError",
    "Transform",
    "convert",
    "count_by_reason",
]
