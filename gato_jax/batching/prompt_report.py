"""The share of rows that have prompts, beside the wanted share, for the log of a run that starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from gato_jax.batching.mixture import Mixture
from gato_jax.batching.windows import takes_prompts

_ROWS = 256  # rows at which the report looks, rounded up to whole batches
_LISTED = 12  # datasets that are named one by one


@dataclasses.dataclass(kw_only=True)
class PromptCounts:
    """Counts over some rows of one dataset.

    Attributes:
      rows: Number of rows.
      chosen: Number of rows whose pieces should follow prompts.
      prompted: Number of rows in which at least one piece does.
      no_room: Number of pieces that lack their prompt because no timestep of the other episode fits.
      no_other_episode: Number of pieces that lack their prompt because their agent has no other episode.
    """

    rows: int = 0
    chosen: int = 0
    prompted: int = 0
    no_room: int = 0
    no_other_episode: int = 0

    @property
    def losses(self) -> str:
        """Clauses that say how many prompts are missing and why; empty if none is."""
        reasons = {
            "did not fit into the row": self.no_room,
            "had no other episode of the agent": self.no_other_episode,
        }
        return ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)


def count_prompts(mixture: Mixture, rows: int = _ROWS) -> dict[str, PromptCounts]:
    """Count the prompts of the first rows of a run, without reading their tokens.

    Args:
      mixture: All rows of the run.
      rows: Number of rows to look at, rounded up to whole batches.

    Returns:
      {name of the dataset: counts}, in the order of the mixture.
    """
    counts = {name: PromptCounts() for name in mixture.names}
    batches = -(-rows // mixture.batch_size)
    for row in range(batches * mixture.batch_size):
        plan = mixture.plan(row)
        count = counts[mixture.names[plan.dataset]]
        count.rows += 1
        count.chosen += plan.prompted
        count.prompted += plan.has_prompt
        count.no_room += plan.missing_prompts.no_room
        count.no_other_episode += plan.missing_prompts.no_other_episode
    return counts


def describe_prompts(mixture: Mixture, rows: int = _ROWS) -> Iterator[str]:
    """Yield lines that say which share of the first rows has prompts, and where prompts are missing.

    For example: `prompts: 24.6% of the first 512 rows have one, 25.0% was wanted; 3 did not fit into the row`, and a
    line for each dataset in which some are missing.
    """
    counts = count_prompts(mixture, rows)
    total = PromptCounts()
    for field in dataclasses.fields(PromptCounts):
        setattr(total, field.name, sum(getattr(count, field.name) for count in counts.values()))
    text = sum(
        not takes_prompts(mixture.records[name]) and mixture.datasets[name].prompt_share > 0 for name in mixture.names
    )
    shares = f"{total.prompted / total.rows:.1%} of the first {total.rows} rows have one"
    wanted = f"{total.chosen / total.rows:.1%} was wanted"
    notes = [total.losses, f"{text} datasets of text take none" if text else ""]
    yield "; ".join(filter(None, (f"prompts: {shares}, {wanted}", *notes)))
    short = [(name, count) for name, count in counts.items() if count.losses]
    for name, count in short[:_LISTED]:
        yield f"  {name}: {count.prompted} of {count.chosen} rows that should have prompts have one; {count.losses}"
    if len(short) > _LISTED:
        yield f"  and {len(short) - _LISTED} more datasets"
