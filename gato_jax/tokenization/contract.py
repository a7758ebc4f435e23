"""Contract: the tokenization and tasks of an agent, stored with each checkpoint and each set of token records."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gato_jax.episodes import TaskSpec
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.differences import require_same
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.codecs.text import text_model_fingerprint
from gato_jax.tokenization.layout import Layout
from gato_jax.tokenization.limits import Limits
from gato_jax.tokenization.settings import Tokenization


class ContractError(ValueError):
    """A contract that differs from the expected one or cannot be read; the message lists the differences."""


_READER = DataclassReader(error=ContractError)
_ActionLimits = Mapping[str, Mapping[str, Limits]]


@dataclasses.dataclass(frozen=True)
class Contract:
    """Tokenization, and the tasks that are encoded by it.

    Attributes:
      tokenization: settings of all codecs.
      tasks: {name: spec}, sorted by name.
      action_limits: {task: {action key: limits measured on the data}}, for tokenizations with actions="rt_2". All other
        codecs use the limits in the specs.
      task_texts: {task: text that begins its episodes}, for tokenizations with task_text_first=True.
    """

    tokenization: Tokenization
    tasks: Mapping[str, TaskSpec]
    action_limits: _ActionLimits = dataclasses.field(default_factory=dict)
    task_texts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        tokenization: Tokenization,
        specs: Iterable[TaskSpec],
        action_limits: _ActionLimits | None = None,
        task_texts: Mapping[str, str] | None = None,
    ) -> Contract:
        """Return the contract of a tokenization and tasks.

        Args:
          tokenization: settings of all codecs.
          specs: the tasks, in any order; the contract sorts them by name.
          action_limits: as the attribute; None for {}.
          task_texts: as the attribute; None for {}.
        """
        tasks = {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}
        return cls(tokenization, tasks, dict(action_limits or {}), dict(sorted((task_texts or {}).items())))

    def layout(self, task: str, image_tokenizer: ImageTokenizer | None = None) -> Layout:
        """Return the layout of one of the tasks.

        Args:
          task: name of the task.
          image_tokenizer: the tokenizer whose fingerprint the settings name; None if they name none.

        Raises:
          KeyError: the contract has no task of this name.
          TokenizationError: the image tokenizer is not the one that the settings name.
        """
        return Layout(
            self.tasks[task],
            self.tokenization,
            action_limits=self.action_limits.get(task),
            image_tokenizer=image_tokenizer,
            task_text=self.task_texts.get(task),
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything that decides the meaning of tokens, as an object of JSON types for `from_json`.

        The keys are `vocabulary` ({kind of token: [first id, stop]}), `text_model`, `tokenization`, `tasks`,
        `action_limits` and, with task_text_first=True, `task_texts`. Without, neither the setting nor the texts are
        written, so that contracts from before they existed stay equal to those of today.
        """
        vocabulary = self.tokenization.vocabulary.table
        limits = {task: {key: vars(pair) for key, pair in keys.items()} for task, keys in self.action_limits.items()}
        fields = {
            "vocabulary": {row.tokens: [row.first, row.stop] for row in vocabulary},
            "text_model": text_model_fingerprint(),
            "tokenization": dataclasses.asdict(self.tokenization),
            "tasks": {name: spec.to_json() for name, spec in self.tasks.items()},
            "action_limits": limits,
        }
        if self.tokenization.task_text_first:
            fields["task_texts"] = dict(self.task_texts)
        else:
            del fields["tokenization"]["task_text_first"]
        return json.loads(json.dumps(fields))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], source: str = "the file") -> Contract:
        """Return the contract that `to_json` wrote.

        Args:
          fields: the JSON object.
          source: name of the file or folder that it was read from, for messages only.

        Raises:
          ContractError: the object cannot be read, or this version of gato_jax would write it differently.
        """
        try:
            tasks = [TaskSpec.from_json(spec) for spec in fields["tasks"].values()]
            tokenization = _READER.read(Tokenization, fields["tokenization"], "tokenization")
            limits = _READER.value(_ActionLimits, fields["action_limits"], "action_limits")
            texts = _READER.value(Mapping[str, str], fields.get("task_texts", {}), "task_texts")
            contract = cls.of(tokenization, tasks, limits, texts)
        except (KeyError, TypeError, AttributeError, ValueError) as error:  # ValueError: an invalid setting or spec
            raise ContractError(
                f"the contract in {source} is of another version ({type(error).__name__}: {error}); make it again"
            ) from None
        _require_equal(contract.to_json(), fields, source)
        return contract

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that identify the contract."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def require_equal(self, other: Contract, source: str):
        """Raise ContractError, with a line for each difference, if `other` is not equal; `source` names its file."""
        _require_equal(self.to_json(), other.to_json(), source)


def _require_equal(expected: Mapping[str, Any], actual: Mapping[str, Any], source: str):
    def settings_first(path: str) -> tuple[bool, str]:
        return path.startswith("tasks."), path

    require_same(
        expected, actual, problem=f"the tokenization of {source} differs", holder=source, error=ContractError,
        order=settings_first,
    )  # fmt: skip
