"""The order of tokens within a timestep, for training and for acting alike (paper, section 2.2 and appendix B).

    one timestep:   observation keys in lexicographic order | separator | action keys in lexicographic order

A task without an observation is pure text: it has no separator and no local positions.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, TaskSpec, Text
from gato_jax.tokenization.codecs import ContinuousCodec, DiscreteCodec, ImageCodec, TextCodec, TokenizationError
from gato_jax.tokenization.contract import Tokenization
from gato_jax.tokenization.sequence import TokenSequence, concatenate
from gato_jax.tokenization.vocabulary import TEXT_PIECES

ActionCodec = TextCodec | DiscreteCodec | ContinuousCodec
Codec = ActionCodec | ImageCodec


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of one task under one tokenization."""

    spec: TaskSpec
    tokenization: Tokenization

    @functools.cached_property
    def observation_codecs(self) -> dict[str, Codec]:
        return {key: self._codec(key, m) for key, m in sorted(self.spec.observation.items())}

    @functools.cached_property
    def action_codecs(self) -> dict[str, ActionCodec]:
        return {key: self._action_codec(key, m) for key, m in sorted(self.spec.action.items())}

    @property
    def pure_text(self) -> bool:
        return not self.spec.observation

    @functools.cached_property
    def action_ranges(self) -> np.ndarray:
        """(A, 2) int32: the valid ids [low, high) of each action token; only for actions of fixed length."""
        ranges = []
        for key, codec in self.action_codecs.items():
            if isinstance(codec, TextCodec):
                raise TokenizationError(f"{self.spec.name}: action {key!r} is text and has no fixed number of tokens")
            ranges += [codec.token_range] * codec.token_count
        return np.array(ranges, np.int32).reshape(-1, 2)

    @functools.cached_property
    def patches_per_step(self) -> int:
        codecs = self.observation_codecs.values()
        return sum(codec.token_count for codec in codecs if isinstance(codec, ImageCodec))

    def encode(self, episode: Episode) -> list[TokenSequence]:
        """The acting steps of an episode, one TokenSequence each."""
        if episode.task != self.spec.name:
            raise TokenizationError(f"an episode of {episode.task} does not fit the layout of {self.spec.name}")
        steps = []
        for t in range(episode.acting_steps):
            try:
                observation = self.encode_observation({k: v[t] for k, v in episode.observation.items()})
                action = self.encode_action({k: v[t] for k, v in episode.action.items()})
            except TokenizationError as error:
                raise TokenizationError(f"{self.spec.name}, step {t}: {error}") from None
            steps.append(action if self.pure_text else concatenate([observation, action]))
        return steps

    def encode_observation(self, observation: Mapping[str, Any]) -> TokenSequence:
        """Observation and separator of one step."""
        self._check_keys("observation", observation, self.observation_codecs)
        pieces = []
        for key, codec in self.observation_codecs.items():
            try:
                pieces.append(self._observation_piece(codec, observation[key]))
            except TokenizationError as error:
                raise TokenizationError(f"observation {key!r}: {error}") from None
        pieces.append(_plain([self.tokenization.vocabulary.separator]))
        sequence = concatenate(pieces)
        limit = self.tokenization.local_positions - 1
        if len(sequence) > limit:
            raise TokenizationError(
                f"an observation of {len(sequence)} tokens exceeds local_positions - 1 = {limit}; raise it"
            )
        return sequence.replace(local_position=np.arange(len(sequence), dtype=np.int32))

    def encode_action(self, action: Mapping[str, Any]) -> TokenSequence:
        """Action tokens of one step: all targets, all at the one local position that actions share."""
        self._check_keys("action", action, self.action_codecs)
        pieces = []
        for key, codec in self.action_codecs.items():
            try:
                ids = codec.encode(action[key])
            except TokenizationError as error:
                raise TokenizationError(f"action {key!r}: {error}") from None
            low, high = (0, self.tokenization.vocabulary.text) if isinstance(codec, TextCodec) else codec.token_range
            ranges = np.tile(np.array([[low, high]], np.int32), (len(ids), 1))
            pieces.append(_plain(ids).replace(loss_mask=np.ones(len(ids), bool), action_range=ranges))
        sequence = concatenate(pieces)
        position = 0 if self.pure_text else self.tokenization.local_positions - 1
        return sequence.replace(local_position=np.full(len(sequence), position, np.int32))

    def decode_action(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """(..., A) ids of an action of fixed length to {key: (..., *shape)}."""
        action, start = {}, 0
        for key, codec in self.action_codecs.items():
            if isinstance(codec, TextCodec):
                raise TokenizationError(f"{self.spec.name}: action {key!r} is text; decode it with the text codec")
            action[key] = codec.decode(ids[..., start : start + codec.token_count])
            start += codec.token_count
        return action

    def _observation_piece(self, codec: Codec, value: Any) -> TokenSequence:
        if isinstance(codec, ImageCodec):
            patches = codec.encode(value)
            count = len(patches)
            return _plain(np.zeros(count)).replace(
                patches=patches, patch_slots=np.arange(count, dtype=np.int32), patch_intervals=codec.intervals
            )
        sequence = _plain(codec.encode(value))
        if isinstance(codec, TextCodec) and self.tokenization.predict_text_observations:
            sequence = sequence.replace(loss_mask=np.ones(len(sequence), bool))
        return sequence

    def _codec(self, key: str, modality: Modality) -> Codec:
        if isinstance(modality, Image):
            return ImageCodec(modality=modality, patch=self.tokenization.patch)
        return self._token_codec(key, modality, companded=True)

    def _action_codec(self, key: str, modality: Modality) -> ActionCodec:
        return self._token_codec(key, modality, companded=False)

    def _token_codec(self, key: str, modality: Modality, *, companded: bool) -> ActionCodec:
        settings = self.tokenization
        vocabulary = settings.vocabulary
        match modality:
            case Text():
                if settings.vocabulary.text < TEXT_PIECES:
                    raise TokenizationError(
                        f"{self.spec.name}: {key!r} is text, whose {TEXT_PIECES} pieces exceed vocabulary.text "
                        f"{settings.vocabulary.text}; raise it"
                    )
                return TextCodec()
            case Discrete():
                if modality.n > vocabulary.bins:
                    raise TokenizationError(
                        f"{self.spec.name}: {key!r} has {modality.n} values, at most {vocabulary.bins}"
                    )
                return DiscreteCodec(modality=modality)
            case Continuous():
                kind = {"companded": companded, "mu": settings.mu, "m": settings.m}
                return ContinuousCodec(modality=modality, first_id=vocabulary.continuous, bins=vocabulary.bins, **kind)
            case Image():
                raise TokenizationError(f"{self.spec.name}: {key!r} is an image, which has no tokens to predict")

    def _check_keys(self, side: str, values: Mapping, codecs: Mapping):
        if set(values) != set(codecs):
            raise TokenizationError(f"{side} has keys {sorted(values)}, {self.spec.name} has {sorted(codecs)}")


def _plain(ids) -> TokenSequence:
    """Tokens that are neither targets nor patches."""
    ids = np.asarray(ids, np.int32)
    return TokenSequence(
        token_ids=ids,
        loss_mask=np.zeros(len(ids), bool),
        local_position=np.zeros(len(ids), np.int32),
        segment_ids=np.ones(len(ids), np.int32),
        prompt_mask=np.zeros(len(ids), bool),
        action_range=np.zeros((len(ids), 2), np.int32),
        patches=np.zeros((0, 0, 0, 0), np.uint8),
        patch_slots=np.zeros(0, np.int32),
        patch_intervals=np.zeros((0, 4), np.int32),
    )
