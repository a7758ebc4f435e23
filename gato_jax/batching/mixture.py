"""The row index: which pieces of which episodes make row r. A pure function of seed, mixture and data.

Row r belongs to batch r // batch_size. Each batch holds its datasets in proportion to their weights, by systematic
sampling: a dataset of weight w gets floor or ceil of w * batch_size rows. That keeps the number of patches and targets
of a batch under a bound that is known at start-up, and every batch looks like the mixture.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from gato_jax.batching.records import TokenRecords
from gato_jax.tokenization import Contract, TokenSequence
from gato_jax.tokenization.sequence import concatenate


class MixtureError(ValueError):
    """A mixture that cannot be sampled; the message names the dataset, the value and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixtureEntry:
    """One dataset of the mixture.

    Attributes:
      weight: share of the rows, relative to the others' weights.
      window: what a piece is. `tokens`: as in the paper, any consecutive tokens, as many as fit in a row, cut wherever
        they begin and end; `timesteps`: as many whole timesteps as fit; a number: that many whole timesteps at most. A
        row holds as many pieces, each from a random place of a random episode, as fit.
      prompt_share: share of pieces that follow a prompt from another episode of the task (paper: 0.25).
      prompt_steps: timesteps of a prompt at most; None for as many as fit. Where none fits beside a piece, it has no
        prompt.
      loss_weight: of each of its targets; 1 is the paper's loss, in which a row of text, all targets, outweighs
        hundreds of rows with one action each.
    """

    records: TokenRecords
    weight: float
    window: Literal["tokens", "timesteps"] | int = "tokens"
    prompt_share: float = 0.25
    prompt_steps: int | None = None
    loss_weight: float = 1.0

    def __post_init__(self):
        name = self.records.spec.name
        if not self.weight > 0:
            raise MixtureError(f"{name}: weight must be positive, got {self.weight}; drop the dataset instead")
        if self.window not in ("tokens", "timesteps") and not (isinstance(self.window, int) and self.window > 0):
            raise MixtureError(f"{name}: window must be tokens, timesteps or a positive number, got {self.window!r}")
        if self.prompt_steps is not None and self.prompt_steps < 1:
            raise MixtureError(f"{name}: prompt_steps must be positive, got {self.prompt_steps}; or prompt_share=0")
        if not self.loss_weight > 0:
            raise MixtureError(f"{name}: loss_weight must be positive, got {self.loss_weight}")
        if not 0 <= self.prompt_share <= 1:
            raise MixtureError(f"{name}: prompt_share must be in [0, 1], got {self.prompt_share}")


@dataclasses.dataclass(frozen=True)
class Piece:
    """Of steps [start, stop) of an episode, counted over the whole dataset, `keep` tokens after the first `skip`."""

    episode: int
    start: int
    stop: int
    prompt: bool
    skip: int
    keep: int


@dataclasses.dataclass(frozen=True)
class Row:
    """A planned row: each segment is a piece, behind its prompt if it has one."""

    dataset: int
    segments: tuple[tuple[Piece, ...], ...]


class Budgets(NamedTuple):
    """What a pool of a batch has room for."""

    patches: int
    targets: int


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """All rows of a run."""

    entries: Sequence[MixtureEntry]
    batch_size: int
    context: int
    seed: int
    predict_prompts: bool = False

    def __post_init__(self):
        if not self.entries:
            raise MixtureError("the mixture is empty; name at least one dataset")
        if repeated := {name for name in self.names if self.names.count(name) > 1}:
            raise MixtureError(f"{repeated.pop()} is there twice; merge its episodes into one dataset")
        for entry in self.entries:
            longest = int(entry.records.step_tokens.max())
            if longest > self.context and not self._croppable(entry):
                name = entry.records.spec.name
                raise MixtureError(
                    f"{name}: a timestep of {longest} tokens exceeds context {self.context}; raise context"
                )

    @functools.cached_property
    def contract(self) -> Contract:
        """The union of the datasets' contracts, which must share one tokenization."""
        first = self.entries[0].records.contract.tokenization
        limits = {}
        for entry in self.entries:
            contract = entry.records.contract
            dataclasses.replace(contract, tokenization=first).require_equal(contract, str(entry.records.directory))
            limits |= contract.action_limits
        return Contract.of(first, [entry.records.spec for entry in self.entries], limits)

    @property
    def names(self) -> list[str]:
        return [entry.records.spec.name for entry in self.entries]

    @property
    def memory_steps(self) -> dict[str, int | None]:
        """How many timesteps an agent learns to look back on in each task; None for as many as fit in a row."""
        windows = {entry.records.spec.name: entry.window for entry in self.entries}
        return {name: window if isinstance(window, int) else None for name, window in windows.items()}

    @functools.cached_property
    def shares(self) -> np.ndarray:
        weights = np.array([entry.weight for entry in self.entries], np.float64)
        return weights / weights.sum()

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes with the data, the weights and everything else that decides what row r holds."""
        entries = [
            (
                e.records.spec.name,
                e.records.fingerprint,
                e.weight,
                e.window,
                e.prompt_share,
                e.prompt_steps,
                e.loss_weight,
            )
            for e in self.entries
        ]
        run = [self.batch_size, self.context, self.seed, self.predict_prompts]
        text = json.dumps([entries, *run, self.contract.fingerprint])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def budgets(self, pools: int = 1) -> Budgets:
        """The most patches and targets that a pool, one of so many in a batch, can hold.

        A pool has every so-manieth row of the batch, so its datasets, too, are in proportion to their weights.
        """
        self.require_pools(pools)
        patches = [self._most(entry, entry.records.step_patches) for entry in self.entries]
        targets = [self._most(entry, entry.records.step_targets) for entry in self.entries]
        return Budgets(*(self._budget(most, self.batch_size // pools) for most in (patches, targets)))

    def require_pools(self, pools: int):
        """Refuses a number of pools that the rows cannot be dealt out to.

        Raises:
          MixtureError: naming both numbers.
        """
        if self.batch_size % pools:
            raise MixtureError(
                f"batch_size {self.batch_size} is no multiple of {pools}, the devices that rows are spread over "
                "(data x fsdp) times compute.accumulate; change one of them"
            )

    def patch_use(self, budget: int, pools: int = 1, rows: int = 64) -> float:
        """The share of the patch budget that is filled over the first few batches; the rest is embedded and dropped."""
        batches = -(-rows // self.batch_size)
        patches = sum(len(self.build(row)[1].patch_slots) for row in range(batches * self.batch_size))
        return patches / (batches * pools * budget)

    def plan(self, row: int) -> Row:
        """Row `row` of the run, whichever host asks."""
        step, slot = divmod(row, self.batch_size)
        dataset = int(self._datasets(step)[slot])
        entry = self.entries[dataset]
        rng, cut = (np.random.default_rng((self.seed, stream, row)) for stream in (1, 2))
        segments, room = [], self.context
        while (segment := self._segment(entry, rng, cut, room, first=not segments)) is not None:
            segments.append(segment)
            room -= sum(piece.keep for piece in segment)
        return Row(dataset, tuple(segments))

    def build(self, row: int) -> tuple[Row, TokenSequence]:
        """The plan of a row and its tokens, at most `context` of them."""
        plan = self.plan(row)
        records = self.entries[plan.dataset].records
        pieces = [piece for segment in plan.segments for piece in segment]
        steps = iter(records.read([step for piece in pieces for step in range(piece.start, piece.stop)]))
        parts = []
        for number, segment in enumerate(plan.segments, start=1):
            for piece in segment:
                tokens = concatenate([next(steps) for _ in range(piece.start, piece.stop)])
                tokens = tokens.slice(piece.skip, piece.skip + piece.keep)
                tokens = tokens.replace(segment_ids=np.full(len(tokens), number, np.int32))
                if piece.skip:  # what it follows from is cut off; a prompt before it is no substitute
                    tokens = tokens.replace(loss_mask=tokens.loss_mask & (np.arange(len(tokens)) > 0))
                parts.append(tokens.as_prompt(predict=self.predict_prompts) if piece.prompt else tokens)
        return plan, concatenate(parts)

    def _segment(self, entry, rng, cut, room: int, *, first: bool) -> tuple[Piece, ...] | None:
        """A piece that fits into `room` tokens, behind its prompt if it has one, or None when the row is full.

        Before a piece that takes all that is left, a prompt takes half of the room at most.
        """
        records, fills = entry.records, isinstance(entry.window, str)
        prompted = rng.random() < entry.prompt_share and len(records.episode_steps) > 1
        start, skip = self._start(entry, rng, first=first)
        other_than = records.episode_of(start)
        prompt, left = None, room
        if prompted and fills:
            prompt = self._prompt(entry, rng, room // 2, other_than=other_than)
            left -= prompt.keep if prompt else 0
        if fills and records.step_tokens[start] > left and not (first and entry.window == "tokens"):
            if not first:  # what has no room for one timestep is left empty
                return None
            prompt, left = None, room
        if entry.window == "tokens":
            piece = self._tokens(records, start, skip, left)
        else:
            steps = entry.window if isinstance(entry.window, int) else None
            piece = self._timesteps(records, start, steps, left if first or fills else None)
        if piece.keep > left:
            if not (first and self._croppable(entry)):
                return None
            return (dataclasses.replace(piece, skip=int(cut.integers(piece.keep - left + 1)), keep=left),)
        if prompted and not fills:
            prompt = self._prompt(entry, rng, room - piece.keep, other_than=other_than)
        return (piece,) if prompt is None else (prompt, piece)

    def _start(self, entry, rng, *, first: bool) -> tuple[int, int]:
        """The step that a piece begins with, and how many of its tokens are left out.

        The first piece of a row may begin at any token, the others begin where a timestep does. So a row is cut at its
        two ends alone.
        """
        records = entry.records
        if entry.window != "tokens" or not first:
            return int(rng.integers(len(records.step_tokens))), 0
        token = int(rng.integers(int(records.step_tokens.sum())))
        start = int(np.searchsorted(records.first_token, token, side="right")) - 1
        return start, token - int(records.first_token[start])

    def _tokens(self, records: TokenRecords, start: int, skip: int, room: int) -> Piece:
        """To the end of the episode or of the room, whichever is nearer."""
        episode = records.episode_of(start)
        ends = np.cumsum(records.step_tokens[start : records.last_step(episode) + 1]) - skip
        keep = min(int(ends[-1]), room)
        return Piece(episode, start, start + int(np.searchsorted(ends, keep)) + 1, False, skip, keep)

    def _timesteps(self, records: TokenRecords, start: int, steps: int | None, room: int | None) -> Piece:
        """At most `steps` of the episode, and no more than fit into `room`, where these are given; one at least."""
        episode = records.episode_of(start)
        end = records.last_step(episode) + 1
        stop = end if steps is None else min(start + steps, end)
        if room is not None:
            fits = np.cumsum(records.step_tokens[start:stop]) <= room
            stop = start + max(int(fits.sum()), 1)
        return Piece(episode, start, stop, False, 0, int(records.step_tokens[start:stop].sum()))

    def _prompt(self, entry, rng, room: int, *, other_than: int) -> Piece | None:
        """Whole timesteps of another episode: its end, or any window of it, half of the time each (paper, section 2.2).

        None where not one timestep fits.
        """
        records = entry.records
        episode = (other_than + 1 + int(rng.integers(len(records.episode_steps) - 1))) % len(records.episode_steps)
        first, count = int(records.first_step[episode]), int(records.episode_steps[episode])
        fits = room // int(records.step_tokens[first : first + count].max())
        steps = min(entry.prompt_steps or count, count, fits)
        if not steps:
            return None
        start = first + (count - steps if rng.random() < 0.5 else int(rng.integers(count - steps + 1)))
        return Piece(episode, start, start + steps, True, 0, int(records.step_tokens[start : start + steps].sum()))

    @functools.lru_cache(maxsize=4)  # noqa: B019 (a mixture lives as long as its run)
    def _datasets(self, step: int) -> np.ndarray:
        """(batch_size,) dataset of each slot of a batch."""
        offset = np.random.default_rng((self.seed, 0, step)).random()
        points = (np.arange(self.batch_size) + offset) / self.batch_size
        return np.searchsorted(np.cumsum(self.shares)[:-1], points, side="right")

    def _croppable(self, entry) -> bool:
        """Text alone may be cut anywhere; a timestep may not."""
        return not entry.records.spec.observation

    def _most(self, entry, per_step: np.ndarray) -> int:
        """The most that a row can hold of something."""
        if self._croppable(entry):
            return self.context if per_step.any() else 0
        # Whole timesteps are never denser than the densest of them; a row is cut at its two ends alone.
        whole = math.floor(self.context * float((per_step / entry.records.step_tokens).max()) + 1e-6)
        cut = 2 * int(per_step.max()) if entry.window == "tokens" else 0
        return min(whole + cut, self.context)

    def _budget(self, most: list[int], rows: int) -> int:
        """Of so many rows: of the densest dataset as many as there can be, then of the next."""
        total, left = 0, rows
        for share, dense in sorted(zip(self.shares, most, strict=True), key=lambda pair: -pair[1]):
            taken = min(math.ceil(share * rows - 1e-9), left)
            total += taken * dense
            left -= taken
        return total
