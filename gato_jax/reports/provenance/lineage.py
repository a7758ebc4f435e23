"""The known origins of a dataset, or of an agent and its training datasets."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_jax.checkpoints.store import CheckpointStore
from gato_jax.episodes import Provenance, TaskSpec
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.errors import describe_error
from gato_jax.reports.errors import ReportError
from gato_jax.reports.provenance.conversions import ConversionLineage, read_conversions, read_json
from gato_jax.reports.recordings import DataStatistics
from gato_jax.reports.recordings.findings import count_by
from gato_jax.rollouts.recording import RECORDING_FILE
from gato_jax.runtime.paths import as_path
from gato_jax.tokenization import Contract

_READER = DataclassReader(error=ReportError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetLineage:
    """Origins of one dataset.

    Attributes:
      spec: its task.
      fingerprint: fingerprint of its data.
      episodes, steps: numbers of episodes and steps.
      provenances: {provenance: number of episodes}.
      weight: share of the training rows of an agent, in [0, 1]; None in the lineage of a dataset alone.
      conversions: the conversions that produced it, the newest first.
      recording: seeds, actor and packages of a recording by `gato collect`, from which its episodes come; empty for
        other episodes.
      measured: its statistics; None if its episodes were not read.
    """

    spec: TaskSpec
    fingerprint: str
    episodes: int
    steps: int
    provenances: Mapping[Provenance, int]
    weight: float | None = None
    conversions: tuple[ConversionLineage, ...] = ()
    recording: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    measured: DataStatistics | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def rejected(self) -> tuple[tuple[str, str], ...]:
        """Pairs (location, reason) of each damaged part, from all conversions and from reading the dataset.

        A location is text that names a file or episode.
        """
        converted = (part for conversion in self.conversions for part in conversion.rejected)
        return (*converted, *self.rejected_on_reading)

    @property
    def rejected_on_reading(self) -> tuple[tuple[str, str], ...]:
        """Pairs (location, reason) of each damaged part found when the dataset itself was read."""
        return tuple((part.location, part.reason) for part in (self.measured.rejected if self.measured else ()))

    @property
    def filtered(self) -> dict[str, int]:
        """{filter: number of undamaged episodes that it removed} over all conversions."""
        total: Counter[str] = Counter()
        for conversion in self.conversions:
            total.update(conversion.filtered)
        return dict(total)

    def episodes_by(self, field: str) -> dict[str, int]:
        """Return {value: number of episodes} for one field of `Provenance`, such as `licence` or `kind`."""
        return count_by(self.provenances, field)

    def to_json(self) -> dict[str, Any]:
        origins = [{"episodes": count, **dataclasses.asdict(origin)} for origin, count in self.provenances.items()]
        plain = ("name", "fingerprint", "episodes", "steps", "weight")
        left_out = {"rejected": len(self.rejected), "filtered": dict(self.filtered)}
        conversions = [dataclasses.asdict(conversion) for conversion in self.conversions]
        nested = left_out | {"conversions": conversions, "provenances": origins}
        nested |= {"recording": dict(self.recording)} if self.recording else {}
        return {name: getattr(self, name) for name in plain} | nested


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLineage:
    """Training of an agent, up to the newest checkpoint of its run.

    Attributes:
      step: step of the checkpoint.
      model: config of the model, as the JSON in the checkpoint.
      contract: fingerprint of the tokenization.
      run: settings of the run, such as batch_size and seed, as the JSON in the checkpoint.
      begun_as: step and digest of the params that fine-tuning started from; None for training from scratch.
    """

    step: int
    model: Mapping[str, Any]
    contract: str
    run: Mapping[str, Any]
    begun_as: tuple[int, str] | None = None

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that identify the run, the same at every step."""
        identity = json.dumps([self.model, self.contract, self.run, self.begun_as], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lineage:
    """Origins of a dataset (`training` is None), or of an agent with all its training datasets."""

    datasets: tuple[DatasetLineage, ...]
    training: TrainingLineage | None = None

    def to_json(self) -> dict[str, Any]:
        training = None if self.training is None else dict(vars(self.training))
        return {"datasets": [dataset.to_json() for dataset in self.datasets], "training": training}


def dataset_lineage(spec: TaskSpec, measured: DataStatistics, folder: Path | None = None) -> Lineage:
    """Return the origins of one dataset, a lineage without training.

    Args:
      spec: its task.
      measured: its statistics, which also give its provenances.
      folder: its folder, from which the conversions are read; None for a source without a folder.

    Raises:
      ReportError: the record of a conversion in the folder is damaged.
    """
    conversions = () if folder is None else read_conversions(folder)
    dataset = DatasetLineage(
        spec=spec,
        fingerprint=measured.fingerprint,
        episodes=measured.episodes,
        steps=measured.steps,
        provenances=measured.provenances,
        conversions=conversions,
        recording={} if folder is None else _read_recording(folder, conversions),
        measured=measured,
    )
    return Lineage(datasets=(dataset,))


def _read_recording(folder: Path, conversions: Sequence[ConversionLineage]) -> dict[str, Any]:
    """Return how the episodes in a folder were recorded, before all conversions; {} if that is not known.

    Raises:
      ReportError: the record of the recording is damaged.
    """
    first = as_path(conversions[-1].folder or folder) if conversions else folder
    recorded = read_json(first / RECORDING_FILE)
    return {name: value for name, value in recorded.items() if name not in ("schema", "task")}


def run_lineage(workdir: Path) -> Lineage:
    """Return the origins of the newest checkpoint of a run and of the datasets in its data.json.

    Raises:
      CheckpointError: the run has no folder of checkpoints, or the newest checkpoint is damaged.
      ContractError: the contract of the checkpoint is of another version.
      ReportError: the folder has no finished checkpoint, data.json is missing, damaged or of an earlier version, or
        finetune_start.json is damaged.
    """
    with contextlib.closing(CheckpointStore(workdir, read_only=True)) as store:
        step = store.latest_step()
        if step is None:
            raise ReportError(
                f"{workdir} has no finished checkpoint. Train there first, or name another folder (--workdir)."
            )
        header = store.about(step)
    file = workdir / "data.json"
    rows = read_json(file, of=list) if file.exists() else None
    if rows is None:
        raise ReportError(f"{file} is missing. Run `gato train` again, which writes it.")
    contract = Contract.from_json(header["contract"], str(store.directory))
    training = TrainingLineage(
        step=step, model=header["model"], contract=contract.fingerprint, run=header["run"],
        begun_as=read_start(workdir / "finetune_start.json"),
    )  # fmt: skip
    return Lineage(datasets=tuple(_read_dataset(row, contract, file) for row in rows), training=training)


def read_start(file: Path) -> tuple[int, str] | None:
    """Return (step, digest) of the params that fine-tuning started from; None if the file does not exist.

    Args:
      file: finetune_start.json of the run.

    Raises:
      ReportError: the file is damaged.
    """
    if not file.exists():
        return None
    try:
        start = read_json(file)["from"]
        return int(start["step"]), str(start["params"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"{file} is not written by `gato finetune` ({describe_error(error)}). Fine-tune again."
        ) from None


def _read_dataset(row: Any, contract: Contract, file: Path) -> DatasetLineage:
    """Return the origins of a dataset from its JSON object in data.json, with `measured` None.

    Args:
      row: the object.
      contract: the contract of the checkpoint, which has the spec of the task.
      file: data.json, for error messages.

    Raises:
      ReportError: the object lacks a key or has other values, or the contract lacks the task.
    """
    try:
        origins = [dict(origin) for origin in row["provenances"]]
        provenances = {Provenance(**origin): int(count) for origin in origins for count in [origin.pop("episodes")]}
        return DatasetLineage(
            spec=contract.tasks[row["task"]], fingerprint=row["fingerprint"], episodes=row["episodes"],
            steps=row["steps"], provenances=provenances, weight=row["weight"],
            conversions=_recorded_conversions(row.get("conversions")),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"{file} is not written by this version ({describe_error(error)}). Run `gato train` again."
        ) from None


def _recorded_conversions(conversions: Any) -> tuple[ConversionLineage, ...]:
    """Return the conversions that `gato train` recorded in data.json, the newest first.

    The newest says so in `missing` if its folder is gone.

    Args:
      conversions: the JSON list; None if data.json lacks it, which gives one record that says so in `missing`.

    Raises:
      ReportError: the list is damaged.
    """
    if conversions is None:
        return (
            ConversionLineage(missing="the run does not record the folder of the dataset: its conversion is unknown"),
        )
    steps = list(_READER.value(tuple[ConversionLineage, ...], conversions, "conversions"))
    if steps and not as_path(steps[0].folder).is_dir():
        gone = f"{steps[0].folder} no longer exists: this was recorded when the agent was trained"
        steps[0] = dataclasses.replace(steps[0], missing="; ".join(filter(None, (steps[0].missing, gone))))
    return tuple(steps)
