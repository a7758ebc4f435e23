"""The row index: which pieces of which episodes make row r, a pure function of seed, mixture and data.

Row r belongs to batch r // batch_size. The number of rows of each dataset in a batch is nearly constant (schedule.py),
so the number of patches and of targets of a batch has an upper bound that is known at start-up.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gato_jax.batching.dataset_config import DatasetConfig, MixtureError
from gato_jax.batching.records import TokenRecords
from gato_jax.batching.schedule import Epochs, PromptedRows, Schedule
from gato_jax.batching.windows import MissingPrompts, Segment, fill_row, is_croppable, takes_prompts
from gato_jax.episodes.differences import require_same
from gato_jax.tokenization import Contract, TokenSequence
from gato_jax.tokenization.sequence import concatenate

# Version of the rules by which the settings below become rows. Raise it with any change that makes other rows, so that
# a run of an older version is not continued with them.
_ROWS = 2
# The settings of a dataset that decide its rows. Its source does not: the fingerprint of its data does, wherever it is.
_SAMPLING = ("weight", "window", "prompt_share", "prompt_steps", "pieces", "loss_weight")


@dataclasses.dataclass(frozen=True)
class Row:
    """Plan of a row: the pieces of episodes that make it, without their tokens.

    Attributes:
      dataset: Index of the dataset in the mixture.
      segments: The pieces of the row, in order. A segment is one piece, a prompt and the piece that follows it, or all
        pieces that `DatasetConfig.pieces` joins.
      prompted: Whether its pieces should follow prompts.
      missing_prompts: Numbers of its pieces that should follow a prompt and do not.
    """

    dataset: int
    segments: tuple[Segment, ...]
    prompted: bool = False
    missing_prompts: MissingPrompts = MissingPrompts()

    @property
    def has_prompt(self) -> bool:
        """True if at least one piece of the row follows a prompt."""
        return any(piece.prompt for segment in self.segments for piece in segment)


class Budgets(NamedTuple):
    """Numbers of patches and of targets that a pool, the rows of one device in one microbatch, has room for."""

    patches: int
    targets: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """All rows of a run.

    Attributes:
      datasets: {name: how the dataset is sampled}, in the order of the config.
      records: {name: the tokens of the dataset}, with the same names in the same order.
      batch_size: Rows of a batch.
      context: Positions of a row.
      seed: Seed of the run.
      predict_prompts: Whether the targets of prompts count in the loss.
      kept_out: {dataset of the config: reason} of those that were kept out because their tasks are held out.

    Several datasets may hold the same task; they must agree on its TaskSpec.

    Raises:
      MixtureError: There is no dataset; the names or their order differ; two datasets of one task have different
        TaskSpecs; or a timestep is longer than `context`, unless its task is pure text or `pieces` is set.
    """

    datasets: Mapping[str, DatasetConfig]
    records: Mapping[str, TokenRecords]
    batch_size: int
    context: int
    seed: int
    predict_prompts: bool = False
    kept_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if not self.datasets:
            raise MixtureError("the mixture is empty; name at least one dataset")
        if list(self.datasets) != list(self.records):
            raise MixtureError(
                f"the mixture has settings of {', '.join(self.datasets)} and records of {', '.join(self.records)}; "
                "expected the same names in the same order"
            )
        for name, dataset in self.datasets.items():
            longest = self.records[name].maxima.tokens
            if longest > self.context and not (is_croppable(self.records[name]) or dataset.pieces):
                raise MixtureError(
                    f"{name}: a timestep of {longest} tokens exceeds context {self.context}; raise context "
                    f"(--config.context={longest}, or --context={longest} without a config)"
                )
        self._require_equal_specs()

    @classmethod
    def uniform(
        cls,
        records: Mapping[str, TokenRecords],
        *,
        batch_size: int,
        context: int,
        seed: int,
        predict_prompts: bool = False,
        **sampling: Any,
    ) -> Mixture:
        """Build a mixture of token records in hand, all of weight 1 and sampled alike.

        Args:
          records: {name: the tokens of the dataset}.
          batch_size: Rows of a batch.
          context: Positions of a row.
          seed: Seed of the run.
          predict_prompts: Whether the targets of prompts count in the loss.
          **sampling: Fields of DatasetConfig for all datasets, such as `window=1`; others have their defaults.

        Raises:
          MixtureError: A field of `sampling` is out of range, or the records do not fit together (see the class).
        """
        datasets = {
            name: DatasetConfig(**{"source": f"tokens:{one.directory}", "weight": 1.0, **sampling})
            for name, one in records.items()
        }
        run = {"batch_size": batch_size, "context": context, "seed": seed, "predict_prompts": predict_prompts}
        return cls(datasets=datasets, records=records, **run)

    @functools.cached_property
    def names(self) -> list[str]:
        """Names of the datasets; the index of a name is the dataset's index in rows and batches."""
        return list(self.datasets)

    @functools.cached_property
    def contract(self) -> Contract:
        """The union of the contracts of all datasets, which must have one tokenization.

        Raises:
          ContractError: Two datasets have different tokenizations.
          MixtureError: Action limits were measured on the data, and two datasets of one task have different ones.
        """
        first = next(iter(self.records.values())).contract.tokenization
        limits: dict[str, Any] = {}
        texts: dict[str, str] = {}
        for name, records in self.records.items():
            contract = records.contract
            dataclasses.replace(contract, tokenization=first).require_equal(contract, str(records.directory))
            for task, measured in contract.action_limits.items():
                if limits.setdefault(task, measured) != measured:
                    raise MixtureError(
                        f"{name}: the limits of the actions of {task} were measured on this dataset and differ from "
                        "those of another dataset of the task; merge the two datasets, or set tokenization.actions to "
                        "gato or rt_1"
                    )
            texts |= contract.task_texts  # the same for all datasets of a task, as it follows from the TaskSpec
        return Contract.of(first, [records.spec for records in self.records.values()], limits, texts)

    @property
    def memory_steps(self) -> dict[str, int | None]:
        """{task: number of timesteps that an agent learns to attend to}; None for as many as fit in a row.

        It is the `window` of the task's dataset, the present timestep included. The widest window counts where several
        datasets hold a task: it was trained on, and a narrower one would give up what was learned.
        """
        steps: dict[str, int | None] = {}
        for name, dataset in self.datasets.items():
            task, window = self.records[name].spec.name, dataset.window
            if isinstance(window, str) or steps.get(task, 0) is None:
                steps[task] = None
            else:
                steps[task] = max(window, steps.get(task) or 0)
        return steps

    @functools.cached_property
    def shares(self) -> np.ndarray:
        """(D,) float64: share of the rows of each dataset; they sum to 1."""
        weights = np.array([dataset.weight for dataset in self.datasets.values()], np.float64)
        return weights / weights.sum()

    def to_json(self) -> dict[str, Any]:
        """Return everything that decides the content of a row, as JSON; it has fingerprints of data, not sources."""
        datasets = {
            name: {
                "data": self.records[name].fingerprint,
                "tokens": self.records[name].tokens,
                **{setting: getattr(dataset, setting) for setting in _SAMPLING},
            }
            for name, dataset in self.datasets.items()
        }
        run = {name: getattr(self, name) for name in ("batch_size", "context", "seed", "predict_prompts")}
        return {**run, "rows": _ROWS, "contract": self.contract.fingerprint, "datasets": datasets}

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of a hash of `to_json`."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:16]

    def budgets(self, pools: int = 1) -> Budgets:
        """Return upper bounds on the patches and targets of one pool in any batch of the run.

        Args:
          pools: Number of pools that the rows of a batch are dealt out to. The loader gives pool p the rows p,
            p + pools, ... of the batch, so it holds the datasets in proportion to their weights, too.

        Raises:
          MixtureError: The batch size is no multiple of `pools`.
        """
        self.require_pools(pools)
        rows = self.batch_size // pools
        patches, targets = [], []
        for name, dataset in self.datasets.items():
            maxima = self.records[name].maxima
            patches.append(self._row_maximum(name, dataset, maxima.patches, maxima.patches_per_token))
            targets.append(self._row_maximum(name, dataset, maxima.targets, maxima.targets_per_token))
        return Budgets(self._pool_maximum(patches, rows), self._pool_maximum(targets, rows))

    def require_pools(self, pools: int):
        """Check that the rows of a batch can be dealt out to this number of pools.

        Raises:
          MixtureError: The batch size is no multiple of it.
        """
        if self.batch_size % pools:
            raise MixtureError(
                f"batch_size {self.batch_size} is no multiple of {pools}, the devices that rows are spread over "
                "(data x fsdp) times compute.accumulate; change one of them"
            )

    def patch_use(self, budget: int, pools: int = 1, rows: int = 64) -> float:
        """Return the share of the patch budget, in [0, 1], that the first batches fill; the rest is padding.

        Args:
          budget: Patches that a pool has room for, at least 1.
          pools: Number of pools of a batch.
          rows: Number of rows to look at, rounded up to whole batches.
        """
        batches = -(-rows // self.batch_size)
        patches = sum(len(self.build(row)[1].patch_slots) for row in range(batches * self.batch_size))
        return patches / (batches * pools * budget)

    @functools.cached_property
    def schedule(self) -> Schedule:
        """Schedule that says which dataset fills each slot of each batch."""
        return Schedule(self.shares, self.batch_size, self.seed)

    def epochs(self, step: int) -> list[int]:
        """Return the epoch, counted from 0, of each dataset when batch `step` begins, in the order of `names`."""
        rows = self.schedule.rows_before(step)
        return [epochs.epoch(int(count)) for epochs, count in zip(self._epochs, rows, strict=True)]

    def plan(self, row: int) -> Row:
        """Return the plan of row `row`, counted from 0 over the whole run. It is the same on every host."""
        index, number = self.schedule.locate(*divmod(row, self.batch_size))
        rng, crop_rng = (np.random.default_rng((self.seed, stream, row)) for stream in (1, 2))
        starts = self._epochs[index].starts(number, rng)
        dataset, records = self.datasets[self.names[index]], self.records[self.names[index]]
        prompted = number in self._prompted[index]
        segments, missing = fill_row(dataset, records, starts, rng, crop_rng, self.context, prompted=prompted)
        return Row(index, segments, prompted, missing)

    def build(self, row: int) -> tuple[Row, TokenSequence]:
        """Return the plan of row `row` of the run and its tokens, at most `context` of them and without padding.

        Segment ids count from 1. The first token of a piece that begins inside a timestep is no target.
        """
        plan = self.plan(row)
        records = self.records[self.names[plan.dataset]]
        pieces = [piece for segment in plan.segments for piece in segment]
        windows = iter(records.read([(piece.start, piece.stop) for piece in pieces]))
        parts = []
        for number, segment in enumerate(plan.segments, start=1):
            for piece in segment:
                tokens = next(windows).slice(piece.skip, piece.skip + piece.keep)
                tokens = tokens.replace(
                    segment_ids=np.full(len(tokens), number, np.int32),
                    episode_ids=np.full(len(tokens), piece.episode, np.int32),
                )
                if piece.skip:
                    # The token before the first one was cut off, so the first one cannot be predicted from it; the end
                    # of a prompt is no substitute.
                    tokens = tokens.replace(loss_mask=tokens.loss_mask & (np.arange(len(tokens)) > 0))
                parts.append(tokens.as_prompt(predict=self.predict_prompts) if piece.prompt else tokens)
        return plan, concatenate(parts)

    @functools.cached_property
    def _epochs(self) -> list[Epochs]:
        return [self._dataset_epochs(name, index) for index, name in enumerate(self.names)]

    @functools.cached_property
    def _prompted(self) -> list[PromptedRows]:
        return [PromptedRows(self.prompt_share(name), (self.seed, 4, at)) for at, name in enumerate(self.names)]

    def prompt_share(self, name: str) -> float:
        """Return the share of the rows of a dataset that should have prompts: 0 for text, else `prompt_share`."""
        return self.datasets[name].prompt_share if takes_prompts(self.records[name]) else 0.0

    def _dataset_epochs(self, name: str, index: int) -> Epochs:
        """Return the epochs of one dataset, whose name and index in the mixture are given.

        The number of windows of an epoch is the number of tokens of the dataset over the mean number of tokens of a
        window, rounded. The mean window has `window` timesteps of mean size, or is a mean episode if `window` is a
        word; it has at most `context` tokens.
        """
        dataset, records = self.datasets[name], self.records[name]
        steps = dataset.window if isinstance(dataset.window, int) else records.steps / records.episodes
        mean = min(records.tokens / records.steps * steps, self.context)
        return Epochs(
            units=records.tokens if dataset.window == "tokens" else records.steps,
            windows=round(records.tokens / mean),
            windows_per_row=dataset.pieces or int(self.context / mean),
            seed=(self.seed, 3, index),
        )

    def _row_maximum(self, name: str, dataset: DatasetConfig, per_step: int, per_token: float) -> int:
        """Return an upper bound, at most `context`, on the patches or on the targets of a row of one dataset.

        Args:
          name: Name of the dataset.
          dataset: Its settings.
          per_step: Maximum number of patches, or of targets, in a timestep.
          per_token: Maximum over timesteps of that number divided by the timestep's tokens.
        """
        if is_croppable(self.records[name]):
            return self.context if per_step else 0
        # Whole timesteps are never denser than the densest of them; a row is cut at its two ends alone.
        cut = 2 * per_step if dataset.window == "tokens" or dataset.pieces else 0
        return min(math.floor(self.context * per_token + 1e-6) + cut, self.context)

    def _pool_maximum(self, row_maxima: list[int], rows: int) -> int:
        """Return an upper bound on the patches, or the targets, that the `rows` rows of a pool have together.

        `row_maxima` has the largest number that one row of each dataset can have, in the order of `names`. In the worst
        case, the dataset with the largest number has its share of the `rows` rows, rounded up, then comes the next one.
        """
        total, left = 0, rows
        for share, row_maximum in sorted(zip(self.shares, row_maxima, strict=True), key=lambda pair: -pair[1]):
            taken = min(math.ceil(share * rows - 1e-9), left)
            total += taken * row_maximum
            left -= taken
        return total

    def _require_equal_specs(self):
        first: dict[str, str] = {}
        for name, records in self.records.items():
            other = first.setdefault(records.spec.name, name)
            spec, wanted = records.spec.to_json(), self.records[other].spec.to_json()
            require_same(
                spec, wanted, error=MixtureError, holder=f"dataset {other}",
                problem=f"datasets {other} and {name} both hold {records.spec.name} and differ in its TaskSpec",
                remedy="record or convert one of them again, or leave it out",
            )  # fmt: skip
