"""The few padded sizes that all tasks of an agent are run at, so that they share a handful of compiled programs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gato_jax.episodes import Image
from gato_jax.tokenization import Layout, TextCodec, TokenizationError

MAX_SHAPES = 4  # with the two programs that prefill prompts, six
_ACTION_TOKENS = 8  # that all tasks have room for; more of them cost no time in a loop on the device
_TEXT_TOKENS = 16  # of an observed text, whose length differs between timesteps
_FIXED_COST = 16  # of a step, in the time of one more token


class Shape(NamedTuple):
    """Padded sizes of one timestep in one environment.

    Attributes:
      length: Number of tokens of the observation.
      patches: Number of its image patches, which are among its tokens.
      actions: Number of action tokens.
    """

    length: int
    patches: int
    actions: int

    @property
    def columns(self) -> int:
        """Number of columns that the timestep takes in the decode state."""
        return self.length + self.actions

    @property
    def cost(self) -> float:
        """Estimate of the time of a step, in tokens. A patch counts twice, as it is embedded by convolutions."""
        return _FIXED_COST + self.length + self.patches + self.actions / 8

    def holds(self, other: Shape) -> bool:
        """Return True if a timestep of the other shape can be padded to this one."""
        return all(mine >= theirs for mine, theirs in zip(self, other, strict=True))

    def join(self, other: Shape) -> Shape:
        """Return the smallest shape that holds both."""
        return Shape(*map(max, zip(self, other, strict=True)))


def bucket(count: int) -> int:
    """Return the size to which `count` is padded: a multiple of 4 up to 32, then of 8 up to 64, of 16 up to 128, etc.

    At most a fifth of a size beyond 16 is padding, and there are four sizes from each power of two to the next.
    """
    multiple = max(4, (1 << max(count - 1, 0).bit_length()) >> 3)
    return -(-count // multiple) * multiple


def round_up(shape: Shape, *, loops: bool) -> Shape:
    """Return the shape with its sizes rounded up.

    Args:
      shape: The shape.
      loops: Whether single action tokens are looped over on the device. Their number is then padded to a power of two,
        and to 8 at least; otherwise, where padding takes time, it is not padded.
    """
    actions = max(_ACTION_TOKENS, 1 << (shape.actions - 1).bit_length()) if loops else shape.actions
    return Shape(bucket(shape.length), bucket(shape.patches), actions)


def task_shape(layout: Layout, text_tokens: int = _TEXT_TOKENS) -> Shape | None:
    """Return the sizes of a task's timesteps; None if its action is text.

    Args:
      layout: Layout of the task's timesteps.
      text_tokens: Number of tokens of each observed text.
    """
    try:
        actions = len(layout.action_ranges)
    except TokenizationError:
        return None
    length = len(layout.task_tokens or ()) + layout.has_observation
    patches = 0
    for _, key, codec in layout.observation_columns:
        modality = layout.spec.observation[key]
        count = text_tokens if isinstance(codec, TextCodec) else codec.token_count
        length += count
        patches += count if isinstance(modality, Image) and layout.image_tokenizer is None else 0
    return Shape(length, patches, actions)


def choose_shapes(shapes: Iterable[Shape], most: int = MAX_SHAPES) -> tuple[Shape, ...]:
    """Return at most `most` shapes that hold all given ones, one of which holds all of them together, by rising cost.

    Starting from the given shapes, the two are joined whose join costs least, until there are few enough. The cost is
    the time that padding adds to the tasks, each relative to its own time.

    Args:
      shapes: Shape of each task.
      most: Number of shapes.
    """
    weights: dict[Shape, float] = {}  # a shape's time costs its tasks together the weight times the shape's cost
    for shape in shapes:
        weights[shape] = weights.get(shape, 0.0) + 1 / shape.cost
    if not weights:
        return ()
    largest = functools.reduce(Shape.join, weights)

    def loss(pair: tuple[Shape, Shape]) -> float:
        cost = pair[0].join(pair[1]).cost
        return sum(weights[shape] * (cost - shape.cost) for shape in pair)

    while len({*weights, largest}) > most:
        one, two = min(itertools.combinations(sorted(weights), 2), key=loss)
        weight, joined = weights.pop(one) + weights.pop(two), one.join(two)
        weights[joined] = weights.get(joined, 0.0) + weight
    return tuple(sorted({*weights, largest}, key=lambda shape: (shape.cost, shape)))


def fit_shape(shapes: Sequence[Shape], needed: Shape, *, loops: bool) -> Shape:
    """Return the cheapest of the shapes that holds what is needed; if none does, what is needed, rounded up."""
    return next((shape for shape in shapes if shape.holds(needed)), round_up(needed, loops=loops))
