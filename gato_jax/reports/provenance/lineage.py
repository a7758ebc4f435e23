"""What is known of where a dataset, or an agent and the datasets it was trained on, come from."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gato_jax.checkpoints.store import CheckpointStore
from gato_jax.episodes import Provenance, TaskSpec
from gato_jax.reports.recordings import DataStatistics
from gato_jax.reports.recordings.findings import count_by
from gato_jax.reports.run import ReportError
from gato_jax.sources.conversion.dataset import REJECTED_FILE
from gato_jax.sources.conversion.manifest import HEADER_FILE
from gato_jax.tokenization import Contract

# Of a conversion's description, what is no setting.
_NO_SETTINGS = ("schema", "splits", "task")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetLineage:
    """One dataset.

    Attributes:
      provenances: how many episodes are of each.
      weight: the share of the rows that an agent was trained on; None without an agent.
      settings: of the conversion that made it, where there was one.
      rejected: where parts of the source were left out as damaged, and why.
      filtered: {filter: how many sound episodes it left out}.
      measured: its statistics, where it was read.
    """

    spec: TaskSpec
    fingerprint: str
    episodes: int
    steps: int
    provenances: Mapping[Provenance, int]
    weight: float | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rejected: tuple[tuple[str, str], ...] = ()
    filtered: Mapping[str, int] = dataclasses.field(default_factory=dict)
    measured: DataStatistics | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    def episodes_by(self, field: str) -> dict[str, int]:
        """Episodes by what their provenances say in one field, as `licence` or `kind`."""
        return count_by(self.provenances, field)

    def to_json(self) -> dict[str, Any]:
        origins = [{"episodes": count, **dataclasses.asdict(origin)} for origin, count in self.provenances.items()]
        plain = ("name", "fingerprint", "episodes", "steps", "weight")
        left_out = {"rejected": len(self.rejected), "filtered": dict(self.filtered)}
        return {name: getattr(self, name) for name in plain} | left_out | {"provenances": origins}


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
    """Of a dataset that was read; its folder, where it has one, says what a conversion left out.

    Raises:
      ReportError: a conversion's file in the folder is damaged.
    """
    left_out = _read(folder / REJECTED_FILE) if folder is not None else {}
    settings = _read(folder / HEADER_FILE) if folder is not None else {}
    try:
        rejected = [(str(part["where"]), str(part["reason"])) for part in left_out.get("rejected", [])]
        filtered = {str(name): int(count) for name, count in left_out.get("filtered", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{folder}/{REJECTED_FILE}: not what a conversion wrote ({error!r}); convert again") from None
    dataset = DatasetLineage(
        spec=spec,
        fingerprint=measured.fingerprint,
        episodes=measured.episodes,
        steps=measured.steps,
        provenances=measured.provenances,
        settings={name: value for name, value in settings.items() if name not in _NO_SETTINGS},
        rejected=(*rejected, *measured.rejected),
        filtered=filtered,
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
    rows = _read(file, of=list) if file.exists() else None
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
        start = _read(file)["from"]
        return int(start["step"]), str(start["params"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{file}: not what `gato finetune` wrote ({error!r}); fine-tune again") from None


def _trained_on(row: Any, contract: Contract, file: Path) -> DatasetLineage:
    try:
        origins = [dict(origin) for origin in row["provenances"]]
        provenances = {Provenance(**origin): int(count) for origin in origins for count in [origin.pop("episodes")]}
        return DatasetLineage(
            spec=contract.tasks[row["dataset"]], fingerprint=row["fingerprint"], episodes=row["episodes"],
            steps=row["steps"], provenances=provenances, weight=row["weight"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{file}: not what this version writes ({error!r}); run `gato train` again") from None


def _read(file: Path, of: type = dict) -> Any:
    """The JSON in a file, empty where there is none."""
    if not file.exists():
        return of()
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ReportError(f"{file} is no JSON ({error}); make it again, or delete it") from None
    if not isinstance(content, of):
        raise ReportError(f"{file} holds no {of.__name__}; make it again, or delete it")
    return content
