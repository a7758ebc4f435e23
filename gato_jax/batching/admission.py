"""Which data a run may learn from: licences, and how much of it may be simulated or synthetic.

Episodes say where they came from one by one, so a dataset is admitted by all of its provenances, not by its first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from gato_jax.batching.mixture import Mixture
from gato_jax.batching.records import TokenRecords
from gato_jax.episodes.licences import commercial_use, is_allowed


class AdmissionError(ValueError):
    """Data that the rules do not admit; the message names every dataset, its licence or share, and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdmissionConfig:
    """The rules; the defaults admit everything.

    Attributes:
      allowed_licences: SPDX identifiers or names; None for any. Of a choice (OR) one has to be among them.
      commercial_only: whether every licence has to permit commercial use. One that is not known does not.
      synthetic_share_at_most, simulated_share_at_most: of the rows, by the weights of the mixture; None for any.
    """

    allowed_licences: tuple[str, ...] | None = None
    commercial_only: bool = False
    synthetic_share_at_most: float | None = None
    simulated_share_at_most: float | None = None

    def __post_init__(self):
        for kind in ("synthetic", "simulated"):
            if (share := self.cap_of(kind)) is not None and not 0 <= share <= 1:
                raise AdmissionError(
                    f"admission.{kind}_share_at_most must be in [0, 1], got {share}; None sets no bound"
                )

    def cap_of(self, kind: str) -> float | None:
        """The most that the share of rows of this kind may be; None for any."""
        return getattr(self, f"{kind}_share_at_most")


def require_admissible(mixture: Mixture, rules: AdmissionConfig):
    """Refuses a mixture that breaks the rules, before it is trained on.

    Raises:
      AdmissionError: naming every dataset that is refused, with why and what to do.
    """
    refused = [f"{name}: {reason}" for name, records in mixture.records.items() for reason in _refusals(records, rules)]
    exceeded = [said for kind in ("synthetic", "simulated") if (said := _exceeded(mixture, rules, kind))]
    if refused:
        exceeded.insert(0, f"refused by licence: {'; '.join(refused)}; leave them out, or widen config.admission")
    if exceeded:
        raise AdmissionError(". ".join(exceeded))


def share_of(mixture: Mixture, kind: str) -> float:
    """The share of rows, by the weights, whose episodes are of this kind: real, simulated or synthetic."""
    return math.fsum(share for _, share in _shares(mixture, kind))


def _refusals(records: TokenRecords, rules: AdmissionConfig) -> Iterator[str]:
    """Why licences of a dataset are not admitted, each licence once."""
    episodes: dict[str, int] = {}
    for provenance, count in records.provenance_counts.items():
        episodes[provenance.licence] = episodes.get(provenance.licence, 0) + count
    for licence, count in episodes.items():
        if reason := _reason(licence, rules):
            of = "" if count == records.episodes else f" ({count} of {records.episodes} episodes)"
            yield f"licence {licence!r}{of} {reason}"


def _reason(licence: str, rules: AdmissionConfig) -> str:
    """Why a licence is not admitted; empty where it is."""
    allowed = rules.allowed_licences
    if allowed is not None and not is_allowed(licence, allowed):
        return f"is not among allowed_licences ({', '.join(allowed) or 'none'})"
    if rules.commercial_only and (use := commercial_use(licence)) is not True:
        return "forbids commercial use" if use is False else "is not known to permit commercial use"
    return ""


def _exceeded(mixture: Mixture, rules: AdmissionConfig, kind: str) -> str:
    cap, share = rules.cap_of(kind), share_of(mixture, kind)
    if cap is None or share <= cap + 1e-9:  # shares are quotients of floats
        return ""
    parts = ", ".join(f"{name} {part:.1%}" for name, part in _shares(mixture, kind))
    return (
        f"{share:.1%} of the rows are {kind} ({parts}), {kind}_share_at_most is {cap:.1%}; lower the weights of these, "
        f"add other data, or raise config.admission.{kind}_share_at_most"
    )


def _shares(mixture: Mixture, kind: str) -> list[tuple[str, float]]:
    """The datasets that have episodes of this kind, and what share of all rows these are."""
    parts = []
    for (name, records), share in zip(mixture.records.items(), mixture.shares, strict=True):
        counts = records.provenance_counts
        if episodes := sum(count for provenance, count in counts.items() if provenance.kind == kind):
            parts.append((name, float(share) * episodes / records.episodes))
    return parts
