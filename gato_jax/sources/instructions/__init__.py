"""Instructions of tasks: generated from names and metadata, checked, reviewed by a person, sampled in training."""

from gato_jax.sources.instructions.datasets import read_instructions, read_metadata
from gato_jax.sources.instructions.phrasings import PhrasedEpisodes
from gato_jax.sources.instructions.proposals import instruction_key, propose_review, read_instruction
from gato_jax.sources.instructions.review import Entry, Review
from gato_jax.sources.instructions.reviewed import apply_review
from gato_jax.sources.instructions.styles import Finding, classify_style, find_problems, group_by_instruction
from gato_jax.sources.instructions.task_names import generate_instructions
from gato_jax.sources.instructions.templates import Template, fill_templates

__all__ = [
    "Entry",
    "Finding",
    "PhrasedEpisodes",
    "Review",
    "Template",
    "apply_review",
    "classify_style",
    "fill_templates",
    "find_problems",
    "generate_instructions",
    "group_by_instruction",
    "instruction_key",
    "propose_review",
    "read_instruction",
    "read_instructions",
    "read_metadata",
]
