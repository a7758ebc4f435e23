"""Admission of data to a run: by licence, and by the share of simulated and synthetic rows.

Every episode has a provenance of its own, so a dataset is admitted only if all of its provenances are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gato_jax.batching.dataset_config import AdmissionConfig, AdmissionError
from gato_jax.batching.mixture import Mixture
from gato_jax.batching.records import TokenRecords
from gato_jax.episodes.licences import commercial_use, is_allowed


def require_admissible(mixture: Mixture, rules: AdmissionConfig):
    """Check that a mixture obeys the rules; a dataset is refused if any one of its licences is refused.

    Raises:
      AdmissionError: A licence is refused, or the share of simulated or synthetic rows is above its maximum. The
        message names all refused datasets with their reasons and all shares that are too large, and the remedies.
    """
    refused = [f"{name}: {reason}" for name, records in mixture.records.items() for reason in _refusals(records, rules)]
    exceeded = [text for kind in ("synthetic", "simulated") if (text := _exceeded(mixture, rules, kind))]
    if refused:
        exceeded.insert(0, f"refused by licence: {'; '.join(refused)}; leave them out, or widen config.admission")
    if exceeded:
        raise AdmissionError(". ".join(exceeded))


def share_of(mixture: Mixture, kind: str) -> float:
    """Return the share of rows, in [0, 1], whose episodes are of a kind: `real`, `simulated` or `synthetic`.

    Datasets count by their weights in the mixture, and within a dataset each episode counts the same.
    """
    return math.fsum(share for _, share in _shares(mixture, kind))


def _refusals(records: TokenRecords, rules: AdmissionConfig) -> Iterator[str]:
    """Yield a clause for each licence not admitted: `licence 'X' (3 of 10 episodes) forbids commercial use`.

    The parenthesis is left out if all episodes of the dataset have the licence.
    """
    episodes: dict[str, int] = {}
    for provenance, count in records.provenance_counts.items():
        episodes[provenance.licence] = episodes.get(provenance.licence, 0) + count
    for licence, count in episodes.items():
        if reason := _reason(licence, rules):
            part = "" if count == records.episodes else f" ({count} of {records.episodes} episodes)"
            yield f"licence {licence!r}{part} {reason}"


def _reason(licence: str, rules: AdmissionConfig) -> str:
    """Return why a licence is not admitted, e.g. `forbids commercial use`; empty if it is admitted."""
    allowed = rules.allowed_licences
    if allowed is not None and not is_allowed(licence, allowed):
        return f"is not among allowed_licences ({', '.join(allowed) or 'none'})"
    if rules.commercial_only and (use := commercial_use(licence)) is not True:
        return "forbids commercial use" if use is False else "is not known to permit commercial use"
    return ""


def _exceeded(mixture: Mixture, rules: AdmissionConfig, kind: str) -> str:
    """Return a sentence that says that the share of rows of a kind is above its maximum, by how much, and the remedy.

    It is empty if the share is at most the maximum, or if the rules set no maximum for the kind.
    """
    cap, share = rules.share_at_most(kind), share_of(mixture, kind)
    if cap is None or share <= cap + 1e-9:  # shares are quotients of floats
        return ""
    parts = ", ".join(f"{name} {part:.1%}" for name, part in _shares(mixture, kind))
    return (
        f"{share:.1%} of the rows are {kind} ({parts}), {kind}_share_at_most is {cap:.1%}; lower the weights of these, "
        f"add other data, or raise config.admission.{kind}_share_at_most"
    )


def _shares(mixture: Mixture, kind: str) -> list[tuple[str, float]]:
    """Return (name, share) of the datasets that have episodes of a kind; the share is of all rows of the mixture."""
    parts = []
    for (name, records), share in zip(mixture.records.items(), mixture.shares, strict=True):
        counts = records.provenance_counts
        if episodes := sum(count for provenance, count in counts.items() if provenance.kind == kind):
            parts.append((name, float(share) * episodes / records.episodes))
    return parts
