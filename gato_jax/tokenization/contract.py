"""What a trained agent assumes about tokens: it travels with every checkpoint and every set of token records."""

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
    """Two contracts that differ; the message shows where."""


_READER = DataclassReader(error=ContractError)
_ActionLimits = Mapping[str, Mapping[str, Limits]]


@dataclasses.dataclass(frozen=True)
class Contract:
    """The tokenization and the tasks that were trained under it.

    `action_limits` holds, for each task, the limits of its actions that were measured on its data, where the
    tokenization asks for such (`actions="rt_2"`); all other normalisation follows from the tasks' own limits.
    """

    tokenization: Tokenization
    tasks: Mapping[str, TaskSpec]
    action_limits: _ActionLimits = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        tokenization: Tokenization,
        specs: Iterable[TaskSpec],
        action_limits: _ActionLimits | None = None,
    ) -> Contract:
        tasks = {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}
        return cls(tokenization, tasks, dict(action_limits or {}))

    def layout(self, task: str, image_tokenizer: ImageTokenizer | None = None) -> Layout:
        """The layout of one of the tasks; a KeyError if it is not one of them."""
        return Layout(
            self.tasks[task],
            self.tokenization,
            action_limits=self.action_limits.get(task),
            image_tokenizer=image_tokenizer,
        )

    def to_json(self) -> dict[str, Any]:
        """All that decides which token means what, the vocabulary spelt out, as strict JSON."""
        vocabulary = self.tokenization.vocabulary.table
        limits = {task: {key: vars(pair) for key, pair in keys.items()} for task, keys in self.action_limits.items()}
        fields = {
            "vocabulary": {row.tokens: [row.first, row.stop] for row in vocabulary},
            "text_model": text_model_fingerprint(),
            "tokenization": dataclasses.asdict(self.tokenization),
            "tasks": {name: spec.to_json() for name, spec in self.tasks.items()},
            "action_limits": limits,
        }
        return json.loads(json.dumps(fields))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], where: str = "the file") -> Contract:
        """The inverse of `to_json`. What this version would write differently is a ContractError that shows it."""
        try:
            tasks = [TaskSpec.from_json(spec) for spec in fields["tasks"].values()]
            tokenization = _READER.read(Tokenization, fields["tokenization"], "tokenization")
            limits = _READER.value(_ActionLimits, fields["action_limits"], "action_limits")
            contract = cls.of(tokenization, tasks, limits)
        except (KeyError, TypeError, AttributeError, ValueError) as error:  # a ValueError: a setting or spec refused
            raise ContractError(
                f"the contract in {where} is of another version ({type(error).__name__}: {error}); make it again"
            ) from None
        _require_equal(contract.to_json(), fields, where)
        return contract

    @property
    def fingerprint(self) -> str:
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def require_equal(self, other: Contract, where: str):
        """Raises ContractError, with each difference on its own line, unless `other` is the same contract."""
        _require_equal(self.to_json(), other.to_json(), where)


def _require_equal(mine: Mapping[str, Any], theirs: Mapping[str, Any], where: str):
    def settings_first(path: str) -> tuple[bool, str]:
        return path.startswith("tasks."), path

    require_same(
        mine, theirs, problem=f"the tokenization of {where} differs", holder=where, error=ContractError,
        order=settings_first,
    )  # fmt: skip
