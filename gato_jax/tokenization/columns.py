"""Columns of a task's timestep: its keys in the order of their tokens, each with its codec."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gato_jax.episodes import Continuous, Discrete, Image, Modality, TaskSpec, Text
from gato_jax.tokenization.codecs import (
    Codec,
    CodeCodec,
    ContinuousCodec,
    DiscreteCodec,
    ImageCodec,
    TextCodec,
    TokenizationError,
)
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.error_context import episode_context, key_context
from gato_jax.tokenization.limits import Limits
from gato_jax.tokenization.settings import ACTION_BINS, Tokenization
from gato_jax.tokenization.vocabulary import TEXT_PIECES, Vocabulary


class Column(NamedTuple):
    """One key of a timestep and its codec.

    Attributes:
      side: "observation" or "action".
      key: name of the key, with the names of nested keys joined by slashes.
      codec: codec of its values.
    """

    side: str
    key: str
    codec: Codec


def observation_columns(
    spec: TaskSpec, settings: Tokenization, image_tokenizer: ImageTokenizer | None
) -> tuple[Column, ...]:
    """Return the columns of a task's observations, in the order of their tokens: keys sorted as a tree.

    Args:
      spec: the task.
      settings: settings of the codecs.
      image_tokenizer: tokenizer that encodes images as codes; None to encode them as patches.

    Raises:
      TokenizationError: no codec holds the values of a key, such as discrete ones of more values than there are bins;
        the message names the key.
    """

    def codec(key: str, modality: Modality) -> Codec:
        match modality:
            case Image():
                return _image_codec(modality, settings, image_tokenizer)
            case Continuous():
                return _observation_codec(modality, settings)
        return _exact_codec(modality, settings.vocabulary)

    return _columns(spec.name, "observation", spec.observation, codec)


def action_columns(spec: TaskSpec, settings: Tokenization, limits: Mapping[str, Limits] | None) -> tuple[Column, ...]:
    """Return the columns of a task's actions, in the order of their tokens: keys sorted as a tree.

    Args:
      spec: the task.
      settings: settings of the codecs.
      limits: {key: limits measured on the data}, which actions="rt_2" needs for each continuous key and other settings
        ignore; None without any.

    Raises:
      TokenizationError: no codec holds the values of a key, such as an image or continuous values without finite
        limits; the message names the key.
    """

    def codec(key: str, modality: Modality) -> Codec:
        if isinstance(modality, Continuous):
            return _action_codec(modality, settings, (limits or {}).get(key))
        return _exact_codec(modality, settings.vocabulary)

    return _columns(spec.name, "action", spec.action, codec)


def _columns(
    task: str, side: str, modalities: Mapping[str, Modality], codec: Callable[[str, Modality], Codec]
) -> tuple[Column, ...]:
    columns = []
    for key, modality in sorted(modalities.items(), key=lambda item: item[0].split("/")):
        with episode_context(task, steps=False), key_context(side, key):
            columns.append(Column(side, key, codec(key, modality)))
    return tuple(columns)


def require_text_pieces(vocabulary: Vocabulary):
    """Raise TokenizationError if the vocabulary has too few ids for the pieces of text."""
    if vocabulary.text < TEXT_PIECES:
        raise TokenizationError(
            f"its {TEXT_PIECES} pieces exceed vocabulary.text {vocabulary.text}; raise "
            f"config.tokenization.vocabulary.text (--config.tokenization.vocabulary.text={TEXT_PIECES})"
        )


def _exact_codec(modality: Modality, vocabulary: Vocabulary) -> Codec:
    """Return the codec of text or of discrete values, which is the same for observations and actions.

    Raises:
      TokenizationError: the vocabulary has too few text pieces or bins, or the modality is another one.
    """
    match modality:
        case Text():
            require_text_pieces(vocabulary)
            return TextCodec()
        case Discrete():
            for name in ("bins", "text"):  # the ids of discrete values are those of the first text pieces
                if modality.n > (limit := getattr(vocabulary, name)):
                    raise TokenizationError(
                        f"has {modality.n} values, at most vocabulary.{name} = {limit}; raise "
                        f"config.tokenization.vocabulary.{name} (--config.tokenization.vocabulary.{name}={modality.n})"
                    )
            return DiscreteCodec(modality=modality)
    raise TokenizationError(f"has modality {modality}, for which there is no codec")


def _image_codec(modality: Image, settings: Tokenization, tokenizer: ImageTokenizer | None) -> Codec:
    if tokenizer is None:
        return ImageCodec(modality=modality, patch=settings.patch)
    return CodeCodec(modality=modality, tokenizer=tokenizer, first_id=settings.vocabulary.first_image_code)


def _observation_codec(modality: Continuous, settings: Tokenization) -> ContinuousCodec:
    return ContinuousCodec(
        modality=modality, companded=settings.observations == "mu_law", first_id=settings.vocabulary.continuous,
        bins=settings.vocabulary.bins, mu=settings.mu, m=settings.m,
    )  # fmt: skip


def _action_codec(modality: Continuous, settings: Tokenization, limits: Limits | None) -> ContinuousCodec:
    vocabulary = settings.vocabulary
    if settings.actions != "rt_2":
        bins = ACTION_BINS if settings.actions == "rt_1" else vocabulary.bins
        return ContinuousCodec(modality=modality, companded=False, first_id=vocabulary.continuous, bins=bins)
    if limits is None:
        raise TokenizationError("has no measured limits, which actions='rt_2' needs; measure_action_limits has them")
    modality = dataclasses.replace(modality, low=limits.low, high=limits.high)
    first_id = vocabulary.text - ACTION_BINS  # the pieces that the text model learned last
    return ContinuousCodec(modality=modality, companded=False, first_id=first_id, bins=ACTION_BINS, descending=True)
