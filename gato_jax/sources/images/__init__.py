"""Readers of images with captions and of questions about images."""

from gato_jax.sources.images.emoji import emoji_captions
from gato_jax.sources.images.image_text import open_image_text
from gato_jax.sources.images.vqa import open_vqa

__all__ = ["emoji_captions", "open_image_text", "open_vqa"]
