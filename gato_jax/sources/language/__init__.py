"""Readers of text without observations: documents and dialogues."""

from gato_jax.sources.language.chatterbot import chatterbot_dialogues
from gato_jax.sources.language.reader import open_dialogues, open_documents

__all__ = ["chatterbot_dialogues", "open_dialogues", "open_documents"]
