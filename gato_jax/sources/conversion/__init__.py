"""Recordings of others into our own store, on Apache Beam. May import episodes, and the readers beside it."""

from gato_jax.sources.conversion.filters import Deduplicate, ExpertShare, Facts, Filter, SuccessOnly
from gato_jax.sources.conversion.job import Conversion, convert
from gato_jax.sources.conversion.manifest import ConversionError
from gato_jax.sources.conversion.recording import Transform

__all__ = [
    "Conversion",
    "ConversionError",
    "Deduplicate",
    "ExpertShare",
    "Facts",
    "Filter",
    "SuccessOnly",
    "Transform",
    "convert",
]
