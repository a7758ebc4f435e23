"""Comparison of the committed random scores with published ones: Atari's of DQN Zoo.

    python -m experiments.random_scores

A game is plausible if the two means differ by at most LIMIT standard errors. The source gives no deviations and says
that it averages at least three episodes, so ours stands for both, with PUBLISHED_EPISODES for theirs. Our games have
sticky actions, those of the source have not. The command ends with status 1 if a game without an entry in EXPLAINED is
outside.
"""

from __future__ import annotations

import json
import math
import sys

from experiments.reference_scores import PUBLISHED
from gato_jax.evaluation import Score, read_table

LIMIT = 3.0
PUBLISHED_EPISODES = 3
EXPLAINED: dict[str, str] = {}
"""{game outside of the plausible range: reason}."""


def standard_errors(ours: Score, published: float) -> float:
    """Return the difference of our mean and the published one, in standard errors; rewards are whole numbers."""
    deviation = max(ours.std, 1.0)
    return (ours.mean - published) / (deviation * math.sqrt(1 / ours.episodes + 1 / PUBLISHED_EPISODES))


def main() -> int:
    """Print a line for each game, and return the number of those that are outside without a reason, at most 1."""
    table, published, measured, unexplained = read_table(), json.loads(PUBLISHED.read_text()), 0, 0
    for game, scores in sorted(published.items()):
        entry = table.get(f"atari/{game}")
        if entry is None:
            print(f"{game:24} not measured")
            continue
        measured += 1
        errors = standard_errors(entry.random, scores["random"])
        outside = abs(errors) > LIMIT
        unexplained += outside and game not in EXPLAINED
        note = EXPLAINED.get(game, "outside") if outside else ""
        print(f"{game:24} {entry.random.mean:10.1f} {scores['random']:10.1f} {errors:+6.1f}  {note}".rstrip())
    print(f"{measured} of {len(published)} games measured, {unexplained} outside without a reason")
    return min(unexplained, 1)


if __name__ == "__main__":
    sys.exit(main())
