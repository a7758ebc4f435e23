"""`gato cache`: the cached token records are listed, verified and removed."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from absl import flags
from etils import epy

from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import write_json

with epy.lazy_imports():
    from gato_jax import batching

_MIB = 2**20


def cache(flag: flags.FlagValues, argv: Sequence[str]):
    """List the token records in the cache ($GATO_CACHE, or ~/.cache/gato_jax), verify them, or remove some.

    Entries that a running process uses or makes are never removed.
    """
    flags.DEFINE_bool("prune", False, "Remove the entries that no process uses.", flag_values=flag)
    flags.DEFINE_float(
        "older_than_days", 0.0, "With --prune: remove only entries that no run has opened for this number of days.",
        lower_bound=0.0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_float(
        "max_gib", 0.0, "With --prune: size of the cache in GiB at which to stop. Entries unused for longest go first.",
        lower_bound=0.0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_bool("verify", False, "Read every entry and report which are damaged.", flag_values=flag)
    flags.DEFINE_string("json", None, "File for the list of entries.", flag_values=flag)
    parse_flags(flag, argv)
    for name in ("older_than_days", "max_gib"):
        if flag[name].present and not flag.prune:
            raise UsageError(f"--{name} is {flag[name].value}, but --prune is missing. Add it, or leave --{name} out.")
    if flag.prune:
        removed = batching.prune_cache(older_than_days=flag.older_than_days, max_gib=flag.max_gib)
        print(f"removed {len(removed)} entries, {sum(entry.bytes for entry in removed) / _MIB:.1f} MiB")
    entries = batching.cache_entries()
    write_json(flag.json, [entry.to_json() for entry in entries])
    _print_table(entries)
    if flag.verify and (problems := batching.verify_cache(entries)):
        raise UsageError(
            f"{len(problems)} entries of the cache are damaged: {'; '.join(problems.values())}. Remove these folders; "
            "the next run makes them again."
        )


def _print_table(entries: Iterable[batching.CacheEntry]):
    rows = [("entry", "task", "MiB", "last used", "state", "tokenization", "dataset")]
    for entry in entries:
        used = datetime.datetime.fromtimestamp(entry.last_used).strftime("%Y-%m-%d %H:%M")
        state = "in use" if entry.in_use else "" if entry.complete else "incomplete"
        changed = ", ".join(f"{name}={value}" for name, value in entry.tokenization.items()) or "paper"
        rows.append((entry.name, entry.task, f"{entry.bytes / _MIB:.1f}", used, state, changed, entry.origin))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print(f"{len(rows) - 1} entries in {batching.cache_root()}")
