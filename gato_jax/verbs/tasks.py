"""`gato tasks`: what there is to play, and who plays it well."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import write_json


def tasks(flag: flags.FlagValues, argv: Sequence[str]):
    """The registry: every task, whether it runs here, and its expert; scores are null until they are measured here."""
    flags.DEFINE_string("suite", None, "only this suite", flag_values=flag)
    flags.DEFINE_string("json", None, "write the list here", flag_values=flag)
    parse_flags(flag, argv)
    from gato_jax.environments import status, task_names
    from gato_jax.experts import description, expert_names

    names = [name for name in task_names() if flag.suite in (None, name.split("/")[0])]
    if not names:
        suites = sorted({name.split("/")[0] for name in task_names()})
        raise UsageError(f"--suite: no suite {flag.suite!r}; suites are {', '.join(suites)}")
    experts = set(expert_names())
    rows = []
    for name in names:
        state, reason = status(name)
        expert = description(name) if name in experts else None
        rows.append(
            {
                "name": name,
                "suite": name.split("/")[0],
                "status": state,
                "reason": reason,
                "expert": expert,
                "random_score": None,
                "expert_score": None,
                "score_source": None,
            }
        )
    write_json(flag.json, {"tasks": rows})
    for row in rows:
        print(f"{row['name']:<44} {row['status']:<12} {row['expert'] or '-'}")
