"""The order of tokens within a timestep, for training and for acting alike (paper, section 2.2 and appendix B).

    one timestep:   observation keys in lexicographic order | separator | action keys in lexicographic order

Nested keys are in the order of their tree: `a/b` comes before `a-b`, since `a` does.
A task without an observation is pure text or pure action: it has no separator and no local positions.

Axes:
    T timesteps   n tokens of one key at one step   L tokens of all
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
from gato_jax.tokenization.columns import Column, action_columns, observation_columns
from gato_jax.tokenization.limits import Limits
from gato_jax.tokenization.refusals import of_episode, of_key
from gato_jax.tokenization.sequence import TokenSequence, concatenate
from gato_jax.tokenization.settings import Tokenization


class _Tokens(NamedTuple):
    """What one key, or the separator, brings to every step."""

    ids: Any  # (T, n) int32; of text, whose length may change, T arrays of (n,)
    mask: np.ndarray  # (T,) bool: whether this step's are targets
    targets: Any = None  # (T, n), where they are not the ids themselves
    valid: tuple[int, int] = (0, 0)  # of an action: the ids that it may take
    patches: np.ndarray | None = None  # (T, n, p, p, 3)
    intervals: np.ndarray | None = None  # (n, 4)

    def width(self, step: int) -> int:
        """How many tokens the step has; text has none where there is no step."""
        if isinstance(self.ids, np.ndarray):
            return self.ids.shape[1]
        return len(self.ids[step]) if step < len(self.ids) else 0


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of one task under one tokenization. Contract.layout gives it what the last two fields hold."""

    spec: TaskSpec
    tokenization: Tokenization
    action_limits: Mapping[str, Limits] | None = None
    image_tokenizer: ImageTokenizer | None = None

    def __post_init__(self):
        wanted, given = self.tokenization.image_tokenizer, self.image_tokenizer
        if wanted != (given and given.fingerprint):
            found = "none" if given is None else given.fingerprint
            raise TokenizationError(
                f"{self.spec.name}: the settings name the image tokenizer {wanted}, given is {found}"
            )
        if given is not None and given.config.codes != self.tokenization.vocabulary.image_codes:
            raise TokenizationError(
                f"{self.spec.name}: the image tokenizer has {given.config.codes} codes, "
                f"vocabulary.image_codes is {self.tokenization.vocabulary.image_codes}; make them equal"
            )
        _ = self.observation_columns, self.action_columns  # what has no codec is said here, not at the first episode

    @functools.cached_property
    def observation_columns(self) -> tuple[Column, ...]:
        return observation_columns(self.spec, self.tokenization, self.image_tokenizer)

    @functools.cached_property
    def action_columns(self) -> tuple[Column, ...]:
        return action_columns(self.spec, self.tokenization, self.action_limits)

    @property
    def action_codecs(self) -> tuple[tuple[str, DiscreteCodec | ContinuousCodec], ...]:
        """(key, codec) of an action of fixed length; one with text is a TokenizationError."""
        codecs = []
        for _, key, codec in self.action_columns:
            if not isinstance(codec, (DiscreteCodec, ContinuousCodec)):
                raise TokenizationError(f"{self.spec.name}: action {key!r} is text and has no fixed number of tokens")
            codecs.append((key, codec))
        return tuple(codecs)

    @property
    def action_ranges(self) -> np.ndarray:
        """(A, 2) int32: the valid ids [low, high) of each action token; only for actions of fixed length."""
        ranges = [codec.token_range for _, codec in self.action_codecs for _ in range(codec.token_count)]
        return np.array(ranges, np.int32).reshape(-1, 2)

    @property
    def has_observation(self) -> bool:
        return bool(self.spec.observation)

    @property
    def action_position(self) -> int:
        """The local position that all action tokens share."""
        return self.tokenization.local_positions - 1 if self.has_observation else 0

    def encode(self, episode: Episode, *, prompt: Episode | None = None, predict_prompt: bool = False) -> TokenSequence:
        """The steps of an episode at which an action was taken, behind those of a prompt if there is one.

        A value without an exact token is a TokenizationError that names task, step, key and value.
        """
        tokens = concatenate([run for run, _ in self._encode_runs(episode)])
        if prompt is None:
            return tokens
        return concatenate([self.encode(prompt).as_prompt(predict=predict_prompt), tokens])

    def encode_timesteps(self, episode: Episode, number: int | None = None) -> list[TokenSequence]:
        """The same tokens, one sequence for each timestep; a refusal names the episode's number if it has one."""
        sequences = []
        for run, steps in self._encode_runs(episode, number):
            width = len(run) // max(steps, 1)
            sequences += [run.slice(step * width, (step + 1) * width) for step in range(steps)]
        return sequences

    def encode_observation(self, observation: Mapping[str, Any]) -> TokenSequence:
        """Observation and separator of one step, the very tokens that `encode` puts before the action."""
        one = {key: [value] for key, value in observation.items()}
        with of_episode(self.spec.name, steps=False):
            ((run, _),) = self._split_into_runs(1, self._encode_observations(1, one), [])
        return run

    def encode_action(self, action: Mapping[str, Any]) -> TokenSequence:
        """The action tokens of one step, the very ones that `encode` puts behind the observation."""
        one = {key: [value] for key, value in action.items()}
        with of_episode(self.spec.name, steps=False):
            ((run, _),) = self._split_into_runs(1, [], self._encode_actions(1, one))
        return run

    def decode_action(self, ids) -> dict[str, Any]:
        """(..., A) ids of an action of fixed length, in NumPy or JAX, to {key: (..., *shape)}."""
        return decode_action(self.action_codecs, ids)

    def _encode_runs(self, episode: Episode, number: int | None = None) -> list[tuple[TokenSequence, int]]:
        """Runs of steps of the same length, each as one sequence, and how many steps it holds."""
        if episode.task != self.spec.name:
            which = "an episode" if number is None else f"episode {number}"
            raise TokenizationError(f"{which} of {episode.task} does not fit the layout of {self.spec.name}")
        steps = episode.acting_steps
        observation = {key: values[:steps] for key, values in episode.observation.items()}
        action = {key: values[:steps] for key, values in episode.action.items()}
        with of_episode(self.spec.name, number):
            columns = self._encode_observations(steps, observation), self._encode_actions(steps, action)
            return self._split_into_runs(steps, *columns)

    def _encode_observations(self, steps: int, values: Mapping[str, Any]) -> list[_Tokens]:
        self._require_keys("observation", values, self.observation_columns)
        columns = [self._encode_column(column, values[column.key], steps) for column in self.observation_columns]
        if not columns:
            return []
        separator = np.full((steps, 1), self.tokenization.vocabulary.separator, np.int32)
        return [*columns, _Tokens(separator, np.zeros(steps, bool))]

    def _encode_actions(self, steps: int, values: Mapping[str, Any]) -> list[_Tokens]:
        self._require_keys("action", values, self.action_columns)
        return [self._encode_column(column, values[column.key], steps) for column in self.action_columns]

    def _encode_column(self, column: Column, values: Any, steps: int) -> _Tokens:
        codec, settings = column.codec, self.tokenization
        ids: Any
        with of_key(column.side, column.key):
            if isinstance(codec, TextCodec):
                ids = codec.encode_each(values[:steps])
            else:
                ids = codec.encode(values)
                _require_one_value_a_step(codec, ids, steps)
        match codec:
            case ImageCodec():
                none = np.zeros(ids.shape[:2], np.int32)
                return _Tokens(none, np.zeros(steps, bool), patches=ids, intervals=codec.intervals)
            case _ if column.side == "action":
                return _Tokens(ids, np.ones(steps, bool), valid=codec.token_range)
            case TextCodec():
                return _Tokens(ids, np.full(steps, settings.predict_text_observations))
            case CodeCodec() if settings.image_ahead is not None:
                later = np.arange(steps) + settings.image_ahead
                return _Tokens(ids, later < steps, targets=ids[np.minimum(later, steps - 1)])
        return _Tokens(ids, np.zeros(steps, bool))

    def _split_into_runs(
        self, steps: int, observation: Sequence[_Tokens], action: Sequence[_Tokens]
    ) -> list[tuple[TokenSequence, int]]:
        columns = (*observation, *action)
        texts = [column.ids for column in columns if isinstance(column.ids, list)]
        lengths = np.array([[len(text[t]) for text in texts] for t in range(steps)]).reshape(steps, len(texts))
        borders = np.flatnonzero((lengths[1:] != lengths[:-1]).any(axis=1)) + 1
        edges = [0, *borders.tolist(), steps]
        runs = zip(edges[:-1], edges[1:], strict=True)
        return [(self._join_columns(slice(a, b), columns, len(observation)), b - a) for a, b in runs]

    def _join_columns(self, steps: slice, columns: Sequence[_Tokens], observed: int) -> TokenSequence:
        """Steps that all have the same number of tokens; the first `observed` columns are the observation."""
        count = steps.stop - steps.start
        widths = [column.width(steps.start) for column in columns]
        ends = np.cumsum([0, *widths]).tolist()
        seen, width = ends[observed], ends[-1]
        most = self.tokenization.local_positions - 1
        if seen > most:
            raise TokenizationError(
                f"the observation's {seen} tokens exceed local_positions - 1 = {most}; raise it", step=steps.start
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
        local[:seen] = np.arange(seen)
        return TokenSequence.from_arrays(
            token_ids=ids.reshape(-1),
            target_ids=targets.reshape(-1),
            loss_mask=mask.reshape(-1),
            local_position=np.tile(local, count),
            action_range=np.tile(valid, (count, 1)),
            **_pool_patches(steps, columns, ends),
        )

    def _require_keys(self, side: str, values: Mapping[str, Any], columns: Sequence[Column]):
        wanted = [column.key for column in columns]
        if values.keys() != set(wanted):
            raise TokenizationError(f"the {side} has keys {sorted(values, key=str)}, the task has {wanted}")


def decode_action(codecs: Sequence[tuple[str, DiscreteCodec | ContinuousCodec]], ids) -> dict[str, Any]:
    """(..., A) action ids to {key: (..., *shape)}. Runs on the host and, traced, on the device, bit-equal."""
    action, start = {}, 0
    for key, codec in codecs:
        action[key] = codec.decode(ids[..., start : start + codec.token_count])
        start += codec.token_count
    return action


def _require_one_value_a_step(codec: DiscreteCodec | ContinuousCodec | ImageCodec | CodeCodec, ids: Any, steps: int):
    """Codecs keep any leading axes; here there is one, that of the steps."""
    lead, shape = ids.shape[: -4 if isinstance(codec, ImageCodec) else -1], codec.modality.shape
    if lead != (steps,):
        raise TokenizationError(f"a value must have shape {shape}, got one of shape {lead[1:] + shape}")


def _pool_patches(steps: slice, columns: Sequence[_Tokens], ends: Sequence[int]) -> dict[str, np.ndarray]:
    """Patches of all image columns in the order of their positions, with slots and intervals."""
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
