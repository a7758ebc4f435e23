"""How a row is filled: windows of episodes, each behind a prompt or not, until there is no more room."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gato_jax.batching.mixture import MixtureEntry
    from gato_jax.batching.records import TokenRecords

Generator = np.random.Generator


@dataclasses.dataclass(frozen=True)
class Piece:
    """Of steps [start, stop) of an episode, counted over the whole dataset, `keep` tokens after the first `skip`."""

    episode: int
    start: int
    stop: int
    prompt: bool
    skip: int
    keep: int


Segment = tuple[Piece, ...]


def croppable(entry: MixtureEntry) -> bool:
    """Text alone may be cut anywhere; a timestep may not."""
    return not entry.records.spec.observation


def fill(
    entry: MixtureEntry, starts: Iterator[int], rng: Generator, cut: Generator, context: int
) -> tuple[Segment, ...]:
    """The segments of a row of `context` tokens: each is a piece, behind its prompt if it has one.

    Args:
      entry: the dataset and what a piece of it is.
      starts: tokens, where windows are of tokens, or else steps, for one piece after the other to begin with.
      rng: chooses prompts.
      cut: chooses where what is longer than the row is cut.
      context: tokens of the row.
    """
    if entry.pieces is not None:
        return (_cropped(_joined(entry, starts, entry.pieces), context, cut),)
    segments, room = [], context
    while (segment := _segment(entry, starts, rng, cut, room, first=not segments)) is not None:
        segments.append(segment)
        room -= sum(piece.keep for piece in segment)
    return tuple(segments)


def _segment(
    entry: MixtureEntry, starts: Iterator[int], rng: Generator, cut: Generator, room: int, *, first: bool
) -> Segment | None:
    """A piece that fits into `room` tokens, behind its prompt if it has one, or None when the row is full.

    Before a piece that takes all that is left, a prompt takes half of the room at most.
    """
    records, fills = entry.records, isinstance(entry.window, str)
    prompted = rng.random() < entry.prompt_share
    start, skip = _start(entry, next(starts), first=first)
    other_than = records.episode_of(start)
    prompt, left = None, room
    if prompted and fills:
        prompt = _prompt(entry, rng, room // 2, other_than=other_than)
        left -= prompt.keep if prompt else 0
    if fills and records.index.step_tokens[start] > left and not (first and entry.window == "tokens"):
        if not first:  # what has no room for one timestep is left empty
            return None
        prompt, left = None, room
    if entry.window == "tokens":
        piece = _tokens(records, start, skip, left)
    else:
        steps = entry.window if isinstance(entry.window, int) else None
        piece = _timesteps(records, start, steps, left if first or fills else None)
    if piece.keep > left:
        return _cropped((piece,), left, cut) if first and croppable(entry) else None
    if prompted and not fills:
        prompt = _prompt(entry, rng, room - piece.keep, other_than=other_than)
    return (piece,) if prompt is None else (prompt, piece)


def _start(entry: MixtureEntry, unit: int, *, first: bool) -> tuple[int, int]:
    """The step that a piece begins with, and how many of its tokens are left out.

    The first piece of a row may begin at any token, the others begin where a timestep does. So a row is cut at its two
    ends alone.
    """
    if entry.window != "tokens":
        return unit, 0
    records = entry.records
    start = int(np.searchsorted(records.index.first_token, unit, side="right")) - 1
    return start, unit - int(records.index.first_token[start]) if first else 0


def _tokens(records: TokenRecords, start: int, skip: int, room: int) -> Piece:
    """To the end of the episode or of the room, whichever is nearer."""
    episode = records.episode_of(start)
    end = min(records.last_step(episode) + 1, start + skip + room)  # a timestep has a token at least
    ends = np.cumsum(records.index.step_tokens[start:end]) - skip
    keep = min(int(ends[-1]), room)
    return Piece(episode, start, start + int(np.searchsorted(ends, keep)) + 1, False, skip, keep)


def _timesteps(records: TokenRecords, start: int, steps: int | None, room: int | None) -> Piece:
    """At most `steps` of the episode, and no more than fit into `room`, where these are given; one at least."""
    episode = records.episode_of(start)
    end = records.last_step(episode) + 1
    stop = end if steps is None else min(start + steps, end)
    if room is not None:
        fits = np.cumsum(records.index.step_tokens[start : min(stop, start + room)]) <= room
        stop = start + max(int(fits.sum()), 1)
    return Piece(episode, start, stop, False, 0, int(records.index.step_tokens[start:stop].sum()))


def _prompt(entry: MixtureEntry, rng: Generator, room: int, *, other_than: int) -> Piece | None:
    """Whole timesteps of another episode by the same agent: its end, or any window of it, half of the time each.

    None where not one timestep fits, or the agent has no other episode (paper, section 2.2).
    """
    records = entry.records
    if (episode := records.another_episode(other_than, rng)) is None:
        return None
    first, count = int(records.index.first_step[episode]), int(records.index.episode_steps[episode])
    fits = room // int(records.index.step_tokens[first : first + count].max())
    steps = min(entry.prompt_steps or count, count, fits)
    if not steps:
        return None
    start = first + (count - steps if rng.random() < 0.5 else int(rng.integers(count - steps + 1)))
    return Piece(episode, start, start + steps, True, 0, int(records.index.step_tokens[start : start + steps].sum()))


def _joined(entry: MixtureEntry, starts: Iterator[int], count: int) -> Segment:
    """So many pieces, one after the other."""
    assert isinstance(entry.window, int)
    return tuple(_timesteps(entry.records, next(starts), entry.window, None) for _ in range(count))


def _cropped(pieces: Segment, room: int, cut: Generator) -> Segment:
    """As much of the pieces as there is room for, from a random token on if that is not all."""
    excess = sum(piece.keep for piece in pieces) - room
    if excess <= 0:
        return pieces
    skip, kept = int(cut.integers(excess + 1)), []
    for piece in pieces:
        before = min(skip, piece.keep)
        keep = min(piece.keep - before, room)
        if keep:
            kept.append(dataclasses.replace(piece, skip=before, keep=keep))
        skip, room = skip - before, room - keep
    return tuple(kept)
