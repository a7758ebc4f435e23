"""Layout of episodes as token sequences, for training and acting (paper, section 2.2 and appendix B).

    one timestep:   observation keys in lexicographic order | separator | action keys in lexicographic order

With `Tokenization.task_text_first`, the text of the task comes before the first timestep of each episode.
Nested keys are sorted as a tree: `a/b` comes before `a-b`, as `a` comes before `a-b`.
A task without observations, pure text or pure actions, has no separator and no local positions.

Axes:
    T timesteps   n tokens of one key at one timestep   L positions   A action tokens of a timestep   p side of a patch
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gato_jax.episodes import Episode, TaskSpec
from gato_jax.tokenization.codecs import (
    CodeCodec,
    ContinuousCodec,
    DiscreteCodec,
    ImageCodec,
    TextCodec,
    TokenizationError,
)
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.columns import Column, action_columns, observation_columns, require_text_pieces
from gato_jax.tokenization.error_context import episode_context, key_context
from gato_jax.tokenization.limits import Limits
from gato_jax.tokenization.sequence import TokenSequence, concatenate
from gato_jax.tokenization.settings import Tokenization
from gato_jax.tokenization.task_text import encode_task_text


class _ColumnTokens(NamedTuple):
    """Tokens of one key, or of the separator, at all timesteps.

    Attributes:
      ids: (T, n) int32; for text, whose length differs between timesteps, a list of T arrays of shape (n,).
      mask: (T,) bool, True where the tokens of the timestep are targets.
      targets: (T, n) int32, the ids to predict, or None if these are `ids`.
      valid: range [low, high) of the ids that an action token may take; (0, 0) for observations.
      patches: (T, n, p, p, 3) uint8, or None.
      intervals: (n, 4) int32, intervals of the patches within the image, or None.
    """

    ids: Any
    mask: np.ndarray
    targets: Any = None
    valid: tuple[int, int] = (0, 0)
    patches: np.ndarray | None = None
    intervals: np.ndarray | None = None

    def width(self, step: int) -> int:
        """Return the number of tokens at timestep `step`; text of an episode without timesteps has none."""
        if isinstance(self.ids, np.ndarray):
            return self.ids.shape[1]
        return len(self.ids[step]) if step < len(self.ids) else 0


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layout of one task under one tokenization; `Contract.layout` builds it.

    Construction raises TokenizationError if a key has no codec, the image tokenizer is not the one in the settings, or
    the settings want the text of the task and it is missing, blank or without exact tokens.

    Attributes:
      spec: the task.
      tokenization: settings of the codecs.
      action_limits: {action key: limits measured on the data}, which actions="rt_2" needs.
      image_tokenizer: the tokenizer that the settings name, or None.
      task_text: text of the task, which `task_text_first` needs for a task with observations and other settings ignore.
    """

    spec: TaskSpec
    tokenization: Tokenization
    action_limits: Mapping[str, Limits] | None = None
    image_tokenizer: ImageTokenizer | None = None
    task_text: str | None = None

    def __post_init__(self):
        expected, tokenizer = self.tokenization.image_tokenizer, self.image_tokenizer
        if expected != (tokenizer and tokenizer.fingerprint):
            given = "none" if tokenizer is None else tokenizer.fingerprint
            raise TokenizationError(
                f"{self.spec.name}: the settings name the image tokenizer {expected}, given is {given}; pass that one"
            )
        if tokenizer is not None and tokenizer.config.codes != self.tokenization.vocabulary.image_codes:
            raise TokenizationError(
                f"{self.spec.name}: the image tokenizer has {tokenizer.config.codes} codes, "
                f"vocabulary.image_codes is {self.tokenization.vocabulary.image_codes}; make them equal"
            )
        # A key without a codec is an error now, not later.
        _ = self.observation_columns, self.action_columns, self.task_tokens

    @functools.cached_property
    def observation_columns(self) -> tuple[Column, ...]:
        """Keys of observations with their codecs, in the order of their tokens."""
        return observation_columns(self.spec, self.tokenization, self.image_tokenizer)

    @functools.cached_property
    def action_columns(self) -> tuple[Column, ...]:
        """Keys of actions with their codecs, in the order of their tokens."""
        return action_columns(self.spec, self.tokenization, self.action_limits)

    @functools.cached_property
    def task_tokens(self) -> TokenSequence | None:
        """Tokens of the task's text that begin each episode; None without `task_text_first` or without observations."""
        if not self.tokenization.task_text_first or not self.has_observation:
            return None
        with episode_context(self.spec.name, steps=False):
            if not self.task_text or not self.task_text.strip():
                raise TokenizationError(
                    f"the task's text is {self.task_text!r}, expected words for task_text_first; give the layout some"
                )
            require_text_pieces(self.tokenization.vocabulary)
            return encode_task_text(self.task_text, predict=self.tokenization.predict_text_observations)

    @property
    def action_codecs(self) -> tuple[tuple[str, DiscreteCodec | ContinuousCodec], ...]:
        """Pairs (key, codec) of an action of fixed length; raises TokenizationError if the action has text."""
        codecs = []
        for _, key, codec in self.action_columns:
            if not isinstance(codec, (DiscreteCodec, ContinuousCodec)):
                raise TokenizationError(f"{self.spec.name}: action {key!r} is text and has no fixed number of tokens")
            codecs.append((key, codec))
        return tuple(codecs)

    @property
    def action_ranges(self) -> np.ndarray:
        """Range [low, high) of valid ids of each action token, (A, 2) int32; raises TokenizationError as above."""
        ranges = [codec.token_range for _, codec in self.action_codecs for _ in range(codec.token_count)]
        return np.array(ranges, np.int32).reshape(-1, 2)

    @property
    def has_observation(self) -> bool:
        return bool(self.spec.observation)

    @property
    def action_position(self) -> int:
        """Local position of all action tokens (appendix C.3): the last one, or 0 for a task without observations."""
        return self.tokenization.local_positions - 1 if self.has_observation else 0

    def encode(self, episode: Episode, *, prompt: Episode | None = None, predict_prompt: bool = False) -> TokenSequence:
        """Return the tokens of all timesteps of an episode at which an action was taken.

        Args:
          episode: an episode of the task.
          prompt: another episode of the task, all of whose tokens come first as a prompt.
          predict_prompt: True if the targets of the prompt count in the loss.

        Raises:
          TokenizationError: a value has no token, the message names task, step, key and value; or the episode is of
            another task or has other keys, or its observation has more than local_positions - 1 tokens.
        """
        runs = self._encode_runs(episode)
        begins = [self.task_tokens] if self.task_tokens and episode.acting_steps else []
        tokens = concatenate([*begins, *(run for run, _ in runs)])
        if prompt is None:
            return tokens
        return concatenate([self.encode(prompt).as_prompt(predict=predict_prompt), tokens])

    def encode_timesteps(self, episode: Episode, number: int | None = None) -> list[TokenSequence]:
        """Return the tokens of `encode` as one sequence for each timestep.

        Args:
          episode: an episode of the task.
          number: number of the episode in its dataset, for messages.

        Raises:
          TokenizationError: as for `encode`; the message also names the episode's number.
        """
        sequences = []
        for run, steps in self._encode_runs(episode, number):
            width = len(run) // max(steps, 1)
            sequences += [run.slice(step * width, (step + 1) * width) for step in range(steps)]
        if self.task_tokens and sequences:
            sequences[0] = concatenate([self.task_tokens, sequences[0]])
        return sequences

    def encode_observation(self, observation: Mapping[str, Any], *, first: bool = False) -> TokenSequence:
        """Return the tokens that `encode` would put before the action of a timestep: its observation and separator.

        Args:
          observation: {key: value of one timestep, without an axis of time}, with exactly the keys of the task; {} for
            a task without observations, which gives no tokens.
          first: True for the first timestep of an episode, before which `task_text_first` puts the text of the task.

        Raises:
          TokenizationError: as for `encode`.
        """
        one = {key: [value] for key, value in observation.items()}
        with episode_context(self.spec.name, steps=False):
            ((run, _),) = self._split_into_runs(1, self._encode_observations(1, one), [])
        return concatenate([self.task_tokens, run]) if first and self.task_tokens else run

    def encode_action(self, action: Mapping[str, Any]) -> TokenSequence:
        """Return the action tokens that `encode` would put after the observation of a timestep.

        Args:
          action: {key: value of one timestep, without an axis of time}, with exactly the keys of the task.

        Raises:
          TokenizationError: as for `encode`.
        """
        one = {key: [value] for key, value in action.items()}
        with episode_context(self.spec.name, steps=False):
            ((run, _),) = self._split_into_runs(1, [], self._encode_actions(1, one))
        return run

    def decode_action(self, ids) -> dict[str, Any]:
        """Decode ids (..., A) of an action of fixed length, in NumPy or JAX, to {key: values (..., *shape)}.

        Raises:
          TokenizationError: the action has text, or ids in a NumPy array are not those of their key.
        """
        return decode_action(self.action_codecs, ids)

    def _encode_runs(self, episode: Episode, number: int | None = None) -> list[tuple[TokenSequence, int]]:
        """Return (sequence, number of timesteps) for each run of consecutive timesteps of equal numbers of tokens.

        Args:
          episode: an episode of the task, of which only the timesteps with an action are encoded.
          number: number of the episode in its dataset, for messages.

        Raises:
          TokenizationError: as for `encode`.
        """
        if episode.task != self.spec.name:
            name = "an episode" if number is None else f"episode {number}"
            raise TokenizationError(f"{name} of {episode.task} does not fit the layout of {self.spec.name}")
        steps = episode.acting_steps
        observation = {key: values[:steps] for key, values in episode.observation.items()}
        action = {key: values[:steps] for key, values in episode.action.items()}
        with episode_context(self.spec.name, number):
            columns = self._encode_observations(steps, observation), self._encode_actions(steps, action)
            return self._split_into_runs(steps, *columns)

    def _encode_observations(self, steps: int, values: Mapping[str, Any]) -> list[_ColumnTokens]:
        self._require_keys("observation", values, self.observation_columns)
        columns = [self._encode_column(column, values[column.key], steps) for column in self.observation_columns]
        if not columns:
            return []
        separator = np.full((steps, 1), self.tokenization.vocabulary.separator, np.int32)
        return [*columns, _ColumnTokens(separator, np.zeros(steps, bool))]

    def _encode_actions(self, steps: int, values: Mapping[str, Any]) -> list[_ColumnTokens]:
        self._require_keys("action", values, self.action_columns)
        return [self._encode_column(column, values[column.key], steps) for column in self.action_columns]

    def _encode_column(self, column: Column, values: Any, steps: int) -> _ColumnTokens:
        codec, settings = column.codec, self.tokenization
        ids: Any
        with key_context(column.side, column.key):
            if isinstance(codec, TextCodec):
                ids = codec.encode_each(values[:steps])
            else:
                ids = codec.encode(values)
                _require_one_value_per_step(codec, ids, steps)
        match codec:
            case ImageCodec():
                zeros = np.zeros(ids.shape[:2], np.int32)
                return _ColumnTokens(zeros, np.zeros(steps, bool), patches=ids, intervals=codec.intervals)
            case _ if column.side == "action":
                return _ColumnTokens(ids, np.ones(steps, bool), valid=codec.token_range)
            case TextCodec():
                return _ColumnTokens(ids, np.full(steps, settings.predict_text_observations))
            case CodeCodec() if settings.image_ahead is not None:
                later = np.arange(steps) + settings.image_ahead
                return _ColumnTokens(ids, later < steps, targets=ids[np.minimum(later, steps - 1)])
        return _ColumnTokens(ids, np.zeros(steps, bool))

    def _split_into_runs(
        self, steps: int, observation: Sequence[_ColumnTokens], action: Sequence[_ColumnTokens]
    ) -> list[tuple[TokenSequence, int]]:
        columns = (*observation, *action)
        texts = [column.ids for column in columns if isinstance(column.ids, list)]
        lengths = np.array([[len(text[t]) for text in texts] for t in range(steps)]).reshape(steps, len(texts))
        borders = np.flatnonzero((lengths[1:] != lengths[:-1]).any(axis=1)) + 1
        edges = [0, *borders.tolist(), steps]
        runs = zip(edges[:-1], edges[1:], strict=True)
        return [(self._join_columns(slice(a, b), columns, len(observation)), b - a) for a, b in runs]

    def _join_columns(self, steps: slice, columns: Sequence[_ColumnTokens], observed: int) -> TokenSequence:
        """Return the tokens of consecutive timesteps of equal numbers of tokens as one sequence.

        Args:
          steps: range of the timesteps within the columns.
          columns: tokens of each key and of the separator, in their order.
          observed: number of columns before the actions, with that of the separator.

        Raises:
          TokenizationError: the observation and separator have more than local_positions - 1 tokens.
        """
        count = steps.stop - steps.start
        widths = [column.width(steps.start) for column in columns]
        ends = np.cumsum([0, *widths]).tolist()
        observation_width, width = ends[observed], ends[-1]
        limit = self.tokenization.local_positions - 1
        if observation_width > limit:
            raise TokenizationError(
                f"the observation's {observation_width} tokens exceed local_positions - 1 = {limit}; raise "
                f"config.tokenization.local_positions (--config.tokenization.local_positions={observation_width + 1})",
                step=steps.start,
            )
        ids, targets = np.zeros((2, count, width), np.int32)
        mask = np.zeros((count, width), bool)
        valid = np.zeros((width, 2), np.int32)
        for column, start, stop in zip(columns, ends[:-1], ends[1:], strict=True):
            ids[:, start:stop] = column.ids[steps]
            targets[:, start:stop] = (column.ids if column.targets is None else column.targets)[steps]
            mask[:, start:stop] = column.mask[steps, None]
            valid[start:stop] = column.valid
        local = np.full(width, self.action_position, np.int32)
        local[:observation_width] = np.arange(observation_width)
        return TokenSequence.from_arrays(
            token_ids=ids.reshape(-1),
            target_ids=targets.reshape(-1),
            loss_mask=mask.reshape(-1),
            local_position=np.tile(local, count),
            action_range=np.tile(valid, (count, 1)),
            **_patch_fields(steps, columns, ends),
        )

    def _require_keys(self, side: str, values: Mapping[str, Any], columns: Sequence[Column]):
        expected = [column.key for column in columns]
        if values.keys() != set(expected):
            raise TokenizationError(
                f"the {side} has keys {sorted(values, key=str)}, the task has {expected}; give exactly these"
            )


def decode_action(codecs: Sequence[tuple[str, DiscreteCodec | ContinuousCodec]], ids) -> dict[str, Any]:
    """Decode action ids (..., A) to {key: values (..., *shape)}.

    Ids are NumPy arrays, or JAX arrays, traced or not; both give equal bits.

    Args:
      codecs: pairs (key, codec) in the order of their tokens, as `Layout.action_codecs`.
      ids: int32 ids.

    Raises:
      TokenizationError: ids in a NumPy array are not those of their key; ids in JAX arrays are not checked.
    """
    action, start = {}, 0
    for key, codec in codecs:
        action[key] = codec.decode(ids[..., start : start + codec.token_count])
        start += codec.token_count
    return action


def _require_one_value_per_step(codec: DiscreteCodec | ContinuousCodec | ImageCodec | CodeCodec, ids: Any, steps: int):
    """Raise TokenizationError unless the leading axes of encoded values are just the axis of timesteps."""
    lead, shape = ids.shape[: -4 if isinstance(codec, ImageCodec) else -1], codec.modality.shape
    if lead != (steps,):
        raise TokenizationError(f"a value must have shape {shape}, got one of shape {lead[1:] + shape}")


def _patch_fields(steps: slice, columns: Sequence[_ColumnTokens], ends: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the per-patch fields of a sequence, with the patches of all image columns in the order of positions.

    Args:
      steps: range of the timesteps, all of equal numbers of tokens, within the columns.
      columns: tokens of each key and of the separator, in their order.
      ends: first position of each column within a timestep, and the timestep's number of tokens.

    Returns:
      {"patches": (P, p, p, 3), "patch_slots": (P,), "patch_intervals": (P, 4)}, with P = 0 without image columns.
    """
    starts = zip(columns, ends[:-1], strict=True)
    images = [(c.patches, c.intervals, at) for c, at in starts if c.patches is not None and c.intervals is not None]
    if not images:
        return {
            "patches": np.zeros((0, 0, 0, 0), np.uint8),
            "patch_slots": np.zeros(0, np.int32),
            "patch_intervals": np.zeros((0, 4), np.int32),
        }
    count, width = steps.stop - steps.start, ends[-1]
    pool = np.concatenate([patches[steps] for patches, _, _ in images], axis=1)
    intervals = np.concatenate([intervals for _, intervals, _ in images])
    within = np.concatenate([start + np.arange(len(intervals)) for _, intervals, start in images])
    slots = np.arange(count)[:, None] * width + within
    return {
        "patches": pool.reshape(-1, *pool.shape[2:]),
        "patch_slots": slots.reshape(-1).astype(np.int32),
        "patch_intervals": np.tile(intervals, (count, 1)),
    }
