"""Filling of a row: windows of episodes, each with or without a prompt before it, until the row has no more room."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gato_jax.batching.dataset_config import DatasetConfig
from gato_jax.batching.records import TokenRecords
from gato_jax.episodes import Text

Generator = np.random.Generator


@dataclasses.dataclass(frozen=True)
class Piece:
    """Consecutive tokens of one episode.

    Attributes:
      episode: Index of the episode in the dataset.
      start, stop: Timesteps [start, stop) that hold the tokens, counted over the whole dataset.
      prompt: Whether the piece is a prompt.
      skip: Number of tokens of these timesteps that are left out at the beginning.
      keep: Number of tokens of the piece.
    """

    episode: int
    start: int
    stop: int
    prompt: bool
    skip: int
    keep: int


Segment = tuple[Piece, ...]


class MissingPrompts(NamedTuple):
    """Numbers of pieces of a row that should follow a prompt and do not, by reason.

    Attributes:
      no_room: The row has no room for a timestep of the other episode.
      no_other_episode: The agent that acted in the episode has no other one.
    """

    no_room: int = 0
    no_other_episode: int = 0


def is_croppable(records: TokenRecords) -> bool:
    """Return True if a timestep may be cut anywhere, which is so for a task without observations: pure text."""
    return not records.spec.observation


def takes_prompts(records: TokenRecords) -> bool:
    """Return False for text, captions, answers and dialogue: another document demonstrates nothing about the next one.

    These are the tasks whose actions are text alone.
    """
    return not all(isinstance(modality, Text) for modality in records.spec.action.values())


def fill_row(
    dataset: DatasetConfig,
    records: TokenRecords,
    starts: Iterator[int],
    rng: Generator,
    crop_rng: Generator,
    context: int,
    *,
    prompted: bool,
) -> tuple[tuple[Segment, ...], MissingPrompts]:
    """Return the segments of one row, in order, and the numbers of its pieces that lack a prompt.

    There is at least one segment, and all together have at most `context` tokens.

    Args:
      dataset: The settings that say what a piece is and how many make a row.
      records: The tokens of the dataset.
      starts: Where one piece after the other begins, without end: indices of tokens if `dataset.window` is `tokens`,
        else of timesteps, counted over the whole dataset.
      rng: Chooses prompts.
      crop_rng: Chooses the part to keep of what is longer than the row.
      context: Tokens of the row.
      prompted: Whether the pieces of the row follow prompts, each its own.
    """
    if dataset.pieces is not None:
        return (_crop(_join_pieces(dataset, records, starts, dataset.pieces), context, crop_rng),), MissingPrompts()
    segments, room, episodes = [], context, []
    while (segment := _next_segment(dataset, records, starts, rng, crop_rng, room, prompted, not segments)) is not None:
        segments.append(segment)
        room -= sum(piece.keep for piece in segment)
        if prompted and len(segment) == 1:
            episodes.append(segment[0].episode)
    alone = sum(not records.has_another_episode(episode) for episode in episodes)
    return tuple(segments), MissingPrompts(len(episodes) - alone, alone)


def _next_segment(
    dataset: DatasetConfig,
    records: TokenRecords,
    starts: Iterator[int],
    rng: Generator,
    crop_rng: Generator,
    room: int,
    prompted: bool,
    first: bool,
) -> Segment | None:
    """Return the next segment, a piece perhaps with a prompt before it; None if it does not fit, so the row is full.

    A segment has at most `room` tokens. If `dataset.window` is `tokens` or `timesteps`, the prompt is chosen first and
    takes at most half of `room`; the piece takes as many tokens of what the prompt leaves as it can. If the window is a
    number of timesteps, the piece comes first and the prompt takes at most what the piece leaves; if that is too little
    for the first segment of a row, its prompt is chosen first and its piece is shortened. `first` is True for the first
    segment of a row, which is never None: its prompt is left out if no timestep fits after it; a piece of text that is
    too long is cropped. The other arguments are those of `fill_row`.
    """
    fills_room = isinstance(dataset.window, str)
    start, skip = _piece_start(dataset, records, next(starts), first=first)
    episode = records.episode_of(start)
    prompt, left = None, room
    if prompted and fills_room:
        prompt = _choose_prompt(dataset, records, rng, room // 2, episode)
        left -= prompt.keep if prompt else 0
    if fills_room and records.index.step_tokens[start] > left and not (first and dataset.window == "tokens"):
        if not first:  # room for less than a timestep stays empty
            return None
        prompt, left = None, room
    if dataset.window == "tokens":
        piece = _token_window(records, start, skip, left)
    else:
        steps = dataset.window if isinstance(dataset.window, int) else None
        piece = _timestep_window(records, start, steps, left if first or fills_room else None)
    if piece.keep > left:
        return _crop((piece,), left, crop_rng) if first and is_croppable(records) else None
    if prompted and not fills_room:
        prompt = _choose_prompt(dataset, records, rng, room - piece.keep, episode)
        if prompt is None and first and (prompt := _choose_prompt(dataset, records, rng, room // 2, episode)):
            shortened = _timestep_window(records, start, piece.stop - start, room - prompt.keep)
            piece, prompt = (shortened, prompt) if shortened.keep + prompt.keep <= room else (piece, None)
    return (piece,) if prompt is None else (prompt, piece)


def _piece_start(dataset: DatasetConfig, records: TokenRecords, unit: int, *, first: bool) -> tuple[int, int]:
    """Return the timestep that a piece begins with, and the number of its tokens that are left out.

    `unit` is the next of the `starts` of `fill_row`. If `dataset.window` is not `tokens`, it is the timestep, and no
    token is left out. If it is `tokens`, it is a token: the first piece of a row begins at it, the others at the
    beginning of its timestep. So a row is cut at its two ends alone.
    """
    if dataset.window != "tokens":
        return unit, 0
    start = int(np.searchsorted(records.index.first_token, unit, side="right")) - 1
    return start, unit - int(records.index.first_token[start]) if first else 0


def _token_window(records: TokenRecords, start: int, skip: int, room: int) -> Piece:
    """Return the piece up to the end of the episode, or up to `room` tokens if the end is further.

    Args:
      records: The tokens of the dataset.
      start: Its first timestep, counted over the whole dataset.
      skip: Number of tokens of this timestep to leave out.
      room: Maximum number of tokens.
    """
    episode = records.episode_of(start)
    end = min(records.last_step(episode) + 1, start + skip + room)  # every timestep has at least one token
    ends = np.cumsum(records.index.step_tokens[start:end]) - skip
    keep = min(int(ends[-1]), room)
    return Piece(episode, start, start + int(np.searchsorted(ends, keep)) + 1, False, skip, keep)


def _timestep_window(records: TokenRecords, start: int, steps: int | None, room: int | None) -> Piece:
    """Return a piece of whole timesteps of one episode, at least one.

    Args:
      records: The tokens of the dataset.
      start: Its first timestep, counted over the whole dataset.
      steps: Maximum number of timesteps; None for no maximum.
      room: Maximum number of tokens, unless a single timestep has more; None for no maximum.
    """
    episode = records.episode_of(start)
    end = records.last_step(episode) + 1
    stop = end if steps is None else min(start + steps, end)
    if room is not None:
        fits = np.cumsum(records.index.step_tokens[start : min(stop, start + room)]) <= room
        stop = start + max(int(fits.sum()), 1)
    return Piece(episode, start, stop, False, 0, int(records.index.step_tokens[start:stop].sum()))


def _choose_prompt(
    dataset: DatasetConfig, records: TokenRecords, rng: Generator, room: int, episode: int
) -> Piece | None:
    """Return whole timesteps of another episode of the same agent: half of the time its end, else any window of it.

    The agent is the one that acted in the episode, not the model. There are as many timesteps as would fit if all were
    as long as the longest of the other episode, at most `dataset.prompt_steps` if that is set. None if not even one
    would fit into `room` tokens, or if the agent has no other episode (paper, section 2.2).
    """
    if (source := records.another_episode(episode, rng)) is None:
        return None
    first, count = int(records.index.first_step[source]), int(records.index.episode_steps[source])
    fits = room // int(records.index.step_tokens[first : first + count].max())
    steps = min(dataset.prompt_steps or count, count, fits)
    if not steps:
        return None
    start = first + (count - steps if rng.random() < 0.5 else int(rng.integers(count - steps + 1)))
    return Piece(source, start, start + steps, True, 0, int(records.index.step_tokens[start : start + steps].sum()))


def _join_pieces(dataset: DatasetConfig, records: TokenRecords, starts: Iterator[int], count: int) -> Segment:
    """Return the next `count` pieces, each of at most `dataset.window` timesteps, as one segment, however long."""
    assert isinstance(dataset.window, int)  # checked by DatasetConfig
    return tuple(_timestep_window(records, next(starts), dataset.window, None) for _ in range(count))


def _crop(pieces: Segment, room: int, crop_rng: Generator) -> Segment:
    """Return the pieces as they are if they fit into `room` tokens, else `room` tokens of them from a random one on."""
    excess = sum(piece.keep for piece in pieces) - room
    if excess <= 0:
        return pieces
    skip, cropped = int(crop_rng.integers(excess + 1)), []
    for piece in pieces:
        before = min(skip, piece.keep)
        keep = min(piece.keep - before, room)
        if keep:
            cropped.append(dataclasses.replace(piece, skip=before, keep=keep))
        skip, room = skip - before, room - keep
    return tuple(cropped)
