"""Recordings of others into our own store, on Apache Beam. May import episodes, and the readers beside it."""

from gato_jax.sources.conversion.filters import Deduplicate, EpisodeFacts, ExpertShare, Filter, SuccessOnly
from gato_jax.sources.conversion.job import Conversion, convert
from gato_jax.sources.conversion.manifest import ConversionError
from gato_jax.sources.conversion.recording import Transform
from gato_jax.sources.conversion.refusals import TooManyRejectedError

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
]
