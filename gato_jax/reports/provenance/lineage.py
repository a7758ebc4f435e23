"""What is known of where a dataset, or an agent and the datasets it was trained on, come from."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gato_jax.checkpoints.store import CheckpointStore
from gato_jax.episodes import Provenance, TaskSpec
from gato_jax.reports.provenance.conversions import ConversionLineage, conversions_of, read_json
from gato_jax.reports.recordings import DataStatistics
from gato_jax.reports.recordings.findings import count_by
from gato_jax.reports.run import ReportError
from gato_jax.tokenization import Contract


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetLineage:
    """One dataset.

    Attributes:
      provenances: how many episodes are of each.
      weight: the share of the rows that an agent was trained on; None without an agent.
      conversions: those that led to it, the newest first.
      measured: its statistics, where it was read.
    """

    spec: TaskSpec
    fingerprint: str
    episodes: int
    steps: int
    provenances: Mapping[Provenance, int]
    weight: float | None = None
    conversions: tuple[ConversionLineage, ...] = ()
    measured: DataStatistics | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def rejected(self) -> tuple[tuple[str, str], ...]:
        """Where parts were left out as damaged, and why, by all conversions and when it was read."""
        converted = (part for conversion in self.conversions for part in conversion.rejected)
        return (*converted, *(self.measured.rejected if self.measured else ()))

    @property
    def filtered(self) -> dict[str, int]:
        """{filter: how many sound episodes it left out}, of all conversions."""
        total: Counter[str] = Counter()
        for conversion in self.conversions:
            total.update(conversion.filtered)
        return dict(total)

    def episodes_by(self, field: str) -> dict[str, int]:
        """Episodes by what their provenances say in one field, as `licence` or `kind`."""
        return count_by(self.provenances, field)

    def to_json(self) -> dict[str, Any]:
        origins = [{"episodes": count, **dataclasses.asdict(origin)} for origin, count in self.provenances.items()]
        plain = ("name", "fingerprint", "episodes", "steps", "weight")
        left_out = {"rejected": len(self.rejected), "filtered": dict(self.filtered)}
        conversions = [dataclasses.asdict(conversion) for conversion in self.conversions]
        said = left_out | {"conversions": conversions, "provenances": origins}
        return {name: getattr(self, name) for name in plain} | said


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLineage:
    """The newest checkpoint of a run.

    Attributes:
      model: its config; contract: the fingerprint of its tokenization; run: what the run says of itself.
      begun_as: step and digest of the params that fine-tuning began with; None where it began with none.
    """

    step: int
    model: Mapping[str, Any]
    contract: str
    run: Mapping[str, Any]
    begun_as: tuple[int, str] | None = None

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits over all that is the same at every step of the run."""
        said = json.dumps([self.model, self.contract, self.run, self.begun_as], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lineage:
    """A dataset, or an agent with all that it was trained on."""

    datasets: tuple[DatasetLineage, ...]
    training: TrainingLineage | None = None

    def to_json(self) -> dict[str, Any]:
        training = None if self.training is None else dict(vars(self.training))
        return {"datasets": [dataset.to_json() for dataset in self.datasets], "training": training}


def of_dataset(spec: TaskSpec, measured: DataStatistics, folder: Path | None = None) -> Lineage:
    """Of a dataset that was read; its folder, where it has one, says what conversions led to it.

    Raises:
      ReportError: a conversion's file in the folder is damaged.
    """
    dataset = DatasetLineage(
        spec=spec,
        fingerprint=measured.fingerprint,
        episodes=measured.episodes,
        steps=measured.steps,
        provenances=measured.provenances,
        conversions=() if folder is None else conversions_of(folder),
        measured=measured,
    )
    return Lineage(datasets=(dataset,))


def of_run(workdir: Path) -> Lineage:
    """Of a run's newest checkpoint, and of the datasets that its data.json names.

    Raises:
      CheckpointError: there is no checkpoint.
      ReportError: data.json is missing, damaged or of an earlier version.
    """
    with contextlib.closing(CheckpointStore(workdir, read_only=True)) as store:
        step = store.latest_step()
        if step is None:
            raise ReportError(f"no finished checkpoint in {workdir}; train there first, or name another --workdir")
        about = store.about(step)
    file = workdir / "data.json"
    rows = read_json(file, of=list) if file.exists() else None
    if rows is None:
        raise ReportError(f"{file} is missing; run `gato train` again, which writes it")
    contract = Contract.from_json(about["contract"], str(store.directory))
    training = TrainingLineage(
        step=step, model=about["model"], contract=contract.fingerprint, run=about["run"],
        begun_as=_begun_as(workdir / "finetune_start.json"),
    )  # fmt: skip
    return Lineage(datasets=tuple(_trained_on(row, contract, file) for row in rows), training=training)


def _begun_as(file: Path) -> tuple[int, str] | None:
    if not file.exists():
        return None
    try:
        start = read_json(file)["from"]
        return int(start["step"]), str(start["params"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{file}: not what `gato finetune` wrote ({error!r}); fine-tune again") from None


def _trained_on(row: Any, contract: Contract, file: Path) -> DatasetLineage:
    try:
        origins = [dict(origin) for origin in row["provenances"]]
        provenances = {Provenance(**origin): int(count) for origin in origins for count in [origin.pop("episodes")]}
        return DatasetLineage(
            spec=contract.tasks[row["task"]], fingerprint=row["fingerprint"], episodes=row["episodes"],
            steps=row["steps"], provenances=provenances, weight=row["weight"],
            conversions=_noted(row.get("conversions")),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{file}: not what this version writes ({error!r}); run `gato train` again") from None


def _noted(conversions: Any) -> tuple[ConversionLineage, ...]:
    """What `gato train` noted of a dataset's conversions; says so where the dataset's folder has gone since."""
    if conversions is None:
        return (ConversionLineage(missing="the run does not say from which folder it read: its conversion is unknown"),)
    steps = [ConversionLineage.from_json(fields) for fields in conversions]
    if steps and not Path(steps[0].folder).is_dir():
        gone = f"{steps[0].folder} is not there any more: this was noted when the agent was trained"
        steps[0] = dataclasses.replace(steps[0], missing="; ".join(filter(None, (steps[0].missing, gone))))
    return tuple(steps)
