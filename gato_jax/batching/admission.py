"""Admission of data to a run: by licence, and by the share of simulated and synthetic rows.

Every episode has a provenance of its own, so a dataset is admitted only if all of its provenances are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from gato_jax.batching.mixture import Mixture
from gato_jax.batching.records import TokenRecords
from gato_jax.episodes.licences import commercial_use, is_allowed


class AdmissionError(ValueError):
    """A mixture that the rules do not admit, or a rule out of range; the message names datasets, reason and remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdmissionConfig:
    """Rules of admission; the defaults admit everything.

    Attributes:
      allowed_licences: SPDX identifiers or names of licences, in any case; None for any, empty for none. Of a choice
        (OR) one must be among them, of a conjunction (AND) all.
      commercial_only: Whether every licence must permit commercial use. A licence that is not known does not.
      synthetic_share_at_most, simulated_share_at_most: Maximum share of the rows of that kind, in [0, 1], by the
        weights of the mixture; None for any.

    Raises:
      AdmissionError: A share is not in [0, 1].
    """

    allowed_licences: tuple[str, ...] | None = None
    commercial_only: bool = False
    synthetic_share_at_most: float | None = None
    simulated_share_at_most: float | None = None

    def __post_init__(self):
        for kind in ("synthetic", "simulated"):
            if (share := self.share_at_most(kind)) is not None and not 0 <= share <= 1:
                raise AdmissionError(
                    f"{kind}_share_at_most is {share}, expected a number in [0, 1]; None sets no bound"
                )

    def share_at_most(self, kind: str) -> float | None:
        """Return the maximum share of rows of a kind, `synthetic` or `simulated`; None for any."""
        return getattr(self, f"{kind}_share_at_most")


def require_admissible(mixture: Mixture, rules: AdmissionConfig):
    """Check that a mixture obeys the rules; a dataset is refused if any one of its licences is.

    Raises:
      AdmissionError: It does not; the message names every dataset that is refused, the reason and the remedy.
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
    """Yield a clause for each licence not admitted: `licence 'X' (3 of 10 episodes) forbids commercial use`."""
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
    """Return a sentence that says which share of rows of a kind is too large, and the remedy; empty if none is."""
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
