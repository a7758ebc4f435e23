"""The description of the data that an agent is trained on, kept in the run's data.json."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from gato_jax.episodes.episode import join_distinct
from gato_jax.reports.provenance.conversions import read_conversions
from gato_jax.runtime.paths import as_path

if TYPE_CHECKING:  # importing batching takes a second
    from gato_jax.batching import DatasetConfig, Mixture


def describe_data(mixture: Mixture) -> list[dict[str, Any]]:
    """Return one JSON object for each dataset of a mixture, in its order, for the data.json that training writes.

    The keys are `dataset`, `task`, `episodes`, `steps`, `source`, `licence`, `kind` and `agent` (distinct values joined
    by "; "), `weight` (share of the rows), `fingerprint`, `provenances` ([{"episodes", fields of `Provenance`}]) and,
    except for exports of tokens, `conversions` (fields of `ConversionLineage`, the newest first; [] without any).
    The list is made before training, because the folder of a dataset may be gone when somebody asks.
    """
    return [
        {
            "dataset": name,
            "task": records.spec.name,
            "episodes": records.episodes,
            "steps": records.steps,
            **{field: join_distinct(records.provenances, field) for field in ("source", "licence", "kind", "agent")},
            "weight": float(share),
            "fingerprint": records.fingerprint,
            "provenances": [
                {"episodes": episodes, **dataclasses.asdict(provenance)}
                for provenance, episodes in records.provenance_counts.items()
            ],
            **_conversions(mixture.datasets[name]),
        }
        for (name, records), share in zip(mixture.records.items(), mixture.shares, strict=True)
    ]


def _conversions(dataset: DatasetConfig) -> dict[str, Any]:
    """Return {"conversions": [...]} of a dataset, the newest first.

    A dataset of another kind than `recorded` has [], except for an export of tokens, which gives {}, as its conversions
    are unknown.
    """
    if dataset.kind == "tokens":
        return {}
    conversions = read_conversions(as_path(dataset.location)) if dataset.kind == "recorded" else ()
    return {"conversions": [dataclasses.asdict(conversion) for conversion in conversions]}
