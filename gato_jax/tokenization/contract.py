"""What a trained agent assumes about tokens: it travels with every checkpoint and every set of token records."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gato_jax.episodes import TaskSpec
from gato_jax.tokenization.vocabulary import Vocabulary


class ContractError(ValueError):
    """Two contracts that differ; the message shows where."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenization:
    """Settings of all codecs; the defaults are the paper's (section 2.1, appendix B and C.3).

    Attributes:
      mu, m: of the companding of continuous observations.
      patch: side of an image patch in pixels.
      local_positions: rows of the local position table; the last is the one that all action tokens share.
      predict_text_observations: whether text in an observation is a target, as the paper's loss mask reads literally.
    """

    vocabulary: Vocabulary = Vocabulary()
    mu: float = 100.0
    m: float = 256.0
    patch: int = 16
    local_positions: int = 512
    predict_text_observations: bool = True

    def __post_init__(self):
        for name in ("mu", "m", "patch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"tokenization.{name} must be positive, got {getattr(self, name)}")
        if self.local_positions < 2:
            raise ValueError(f"tokenization.local_positions must be 2 or more, got {self.local_positions}")

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Tokenization:
        return cls(**{**fields, "vocabulary": Vocabulary(**fields["vocabulary"])})


@dataclasses.dataclass(frozen=True)
class Contract:
    """The tokenization and the tasks that were trained under it."""

    tokenization: Tokenization
    tasks: Mapping[str, TaskSpec]

    @classmethod
    def of(cls, tokenization: Tokenization, specs: Iterable[TaskSpec]) -> Contract:
        return cls(tokenization, {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)})

    def to_json(self) -> dict[str, Any]:
        return {
            "tokenization": dataclasses.asdict(self.tokenization),
            "tasks": {name: spec.to_json() for name, spec in self.tasks.items()},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Contract:
        tasks = {name: TaskSpec.from_json(spec) for name, spec in fields["tasks"].items()}
        return cls(Tokenization.from_json(fields["tokenization"]), tasks)

    @property
    def fingerprint(self) -> str:
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def require_equal(self, other: Contract, where: str):
        """Raises ContractError, with each difference on its own line, unless `other` is the same contract."""
        mine, theirs = (dict(_leaves(json.loads(json.dumps(c.to_json())))) for c in (self, other))
        keys = sorted(mine.keys() | theirs.keys(), key=lambda key: (key.startswith("tasks."), key))  # settings first
        different = [key for key in keys if mine.get(key) != theirs.get(key)]
        if different:
            lines = [f"  {key}: {mine.get(key)!r} here, {theirs.get(key)!r} in {where}" for key in different[:12]]
            lines += [f"  and {len(different) - 12} more"] if len(different) > 12 else []
            raise ContractError(f"the tokenization of {where} differs:\n" + "\n".join(lines))


def _leaves(tree: Any, path: str = ""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree
