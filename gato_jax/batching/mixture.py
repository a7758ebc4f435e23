"""The row index: which pieces of which episodes make row r. A pure function of seed, mixture and data.

Row r belongs to batch r // batch_size. What a batch holds of each dataset is nearly constant (schedule.py), so the
number of patches and targets of a batch is under a bound that is known at start-up.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from gato_jax.batching.records import TokenRecords
from gato_jax.batching.schedule import Epochs, Schedule
from gato_jax.batching.windows import Segment, croppable, fill
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
      pieces: so many, one after the other in one segment, make a row, padded or cropped at random to its length: the
        paper's five pairs of image and text (section 3.2). None for as many as fit, each in a segment of its own.
      loss_weight: of each of its targets; 1 is the paper's loss, in which a row of text, all targets, outweighs
        hundreds of rows with one action each.
    """

    records: TokenRecords
    weight: float
    window: Literal["tokens", "timesteps"] | int = "tokens"
    prompt_share: float = 0.25
    prompt_steps: int | None = None
    pieces: int | None = None
    loss_weight: float = 1.0

    def __post_init__(self):
        name = self.records.spec.name
        if not self.weight > 0:
            raise MixtureError(f"{name}: weight must be positive, got {self.weight}; drop the dataset instead")
        if self.window not in ("tokens", "timesteps") and not (isinstance(self.window, int) and self.window > 0):
            raise MixtureError(f"{name}: window must be tokens, timesteps or a positive number, got {self.window!r}")
        if self.prompt_steps is not None and self.prompt_steps < 1:
            raise MixtureError(f"{name}: prompt_steps must be positive, got {self.prompt_steps}; or prompt_share=0")
        if self.pieces is not None and not (self.pieces > 0 and isinstance(self.window, int)):
            raise MixtureError(
                f"{name}: pieces={self.pieces} with window={self.window!r}; both are positive numbers, or no pieces"
            )
        if self.pieces is not None and self.prompt_share:
            raise MixtureError(f"{name}: pieces={self.pieces} leaves no room for prompts; set prompt_share=0")
        if not self.loss_weight > 0:
            raise MixtureError(f"{name}: loss_weight must be positive, got {self.loss_weight}")
        if not 0 <= self.prompt_share <= 1:
            raise MixtureError(f"{name}: prompt_share must be in [0, 1], got {self.prompt_share}")


@dataclasses.dataclass(frozen=True)
class Row:
    """A planned row: each segment is a piece, behind its prompt if it has one."""

    dataset: int
    segments: tuple[Segment, ...]


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
            longest = entry.records.most.tokens
            if longest > self.context and not (croppable(entry) or entry.pieces):
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

    def about(self) -> dict[str, Any]:
        """The data, the weights and everything else that decides what row r holds, as JSON."""
        datasets = {}
        for entry in self.entries:
            fields = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
            records = fields.pop("records")
            datasets[records.spec.name] = {"data": records.fingerprint, "tokens": records.tokens, **fields}
        run = {name: getattr(self, name) for name in ("batch_size", "context", "seed", "predict_prompts")}
        return {**run, "contract": self.contract.fingerprint, "datasets": datasets}

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits over `about`."""
        return hashlib.sha256(json.dumps(self.about()).encode()).hexdigest()[:16]

    def budgets(self, pools: int = 1) -> Budgets:
        """The most patches and targets that a pool, one of so many in a batch, can hold.

        A pool has every so-manieth row of the batch, so its datasets, too, are in proportion to their weights.
        """
        self.require_pools(pools)
        mosts = [(entry, entry.records.most) for entry in self.entries]
        patches = [self._most(entry, most.patches, most.patches_a_token) for entry, most in mosts]
        targets = [self._most(entry, most.targets, most.targets_a_token) for entry, most in mosts]
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

    @functools.cached_property
    def schedule(self) -> Schedule:
        return Schedule(self.shares, self.batch_size, self.seed)

    @functools.cached_property
    def _epochs(self) -> list[Epochs]:
        return [self._epochs_of(entry, number) for number, entry in enumerate(self.entries)]

    def _epochs_of(self, entry: MixtureEntry, number: int) -> Epochs:
        """An epoch is as many windows of the mean size as the dataset has tokens for."""
        records = entry.records
        steps = entry.window if isinstance(entry.window, int) else records.steps / records.episodes
        mean = min(records.tokens / records.steps * steps, self.context)
        return Epochs(
            units=records.tokens if entry.window == "tokens" else records.steps,
            windows=round(records.tokens / mean),
            a_row=entry.pieces or int(self.context / mean),
            seed=(self.seed, 3, number),
        )

    def epochs(self, step: int) -> list[int]:
        """The epoch that each dataset is in when batch `step` begins, from 0."""
        rows = self.schedule.before(step)
        return [epochs.epoch(int(count)) for epochs, count in zip(self._epochs, rows, strict=True)]

    def plan(self, row: int) -> Row:
        """Row `row` of the run, whichever host asks."""
        dataset, number = self.schedule.locate(*divmod(row, self.batch_size))
        rng, cut = (np.random.default_rng((self.seed, stream, row)) for stream in (1, 2))
        starts = self._epochs[dataset].starts(number, rng)
        return Row(dataset, fill(self.entries[dataset], starts, rng, cut, self.context))

    def build(self, row: int) -> tuple[Row, TokenSequence]:
        """The plan of a row and its tokens, at most `context` of them."""
        plan = self.plan(row)
        records = self.entries[plan.dataset].records
        pieces = [piece for segment in plan.segments for piece in segment]
        read = iter(records.read([(piece.start, piece.stop) for piece in pieces]))
        parts = []
        for number, segment in enumerate(plan.segments, start=1):
            for piece in segment:
                tokens = next(read).slice(piece.skip, piece.skip + piece.keep)
                tokens = tokens.replace(
                    segment_ids=np.full(len(tokens), number, np.int32),
                    episode_ids=np.full(len(tokens), piece.episode, np.int32),
                )
                if piece.skip:  # what it follows from is cut off; a prompt before it is no substitute
                    tokens = tokens.replace(loss_mask=tokens.loss_mask & (np.arange(len(tokens)) > 0))
                parts.append(tokens.as_prompt(predict=self.predict_prompts) if piece.prompt else tokens)
        return plan, concatenate(parts)

    def _most(self, entry: MixtureEntry, of_step: int, a_token: float) -> int:
        """The most that a row can hold of something, from the most that a timestep and a token of one have."""
        if croppable(entry):
            return self.context if of_step else 0
        # Whole timesteps are never denser than the densest of them; a row is cut at its two ends alone.
        cut = 2 * of_step if entry.window == "tokens" or entry.pieces else 0
        return min(math.floor(self.context * a_token + 1e-6) + cut, self.context)

    def _budget(self, most: list[int], rows: int) -> int:
        """Of so many rows: of the densest dataset as many as there can be, then of the next."""
        total, left = 0, rows
        for share, dense in sorted(zip(self.shares, most, strict=True), key=lambda pair: -pair[1]):
            taken = min(math.ceil(share * rows - 1e-9), left)
            total += taken * dense
            left -= taken
        return total
