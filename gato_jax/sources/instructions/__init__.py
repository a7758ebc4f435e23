"""Instructions of tasks: made of names and metadata, checked, reviewed by a person, and sampled in training."""

from gato_jax.sources.instructions.phrasings import PhrasedEpisodes
from gato_jax.sources.instructions.proposals import instruction_key, instruction_of, propose
from gato_jax.sources.instructions.review import Entry, Review
from gato_jax.sources.instructions.reviewed import apply
from gato_jax.sources.instructions.styles import Finding, check, grouped, style_of
from gato_jax.sources.instructions.task_names import instructions_for
from gato_jax.sources.instructions.templates import Template, from_metadata

__all__ = [
    "Entry",
    "Finding",
    "PhrasedEpisodes",
    "Review",
    "Template",
    "apply",
    "check",
    "from_metadata",
    "grouped",
    "instruction_key",
    "instruction_of",
    "instructions_for",
    "propose",
    "style_of",
]
