"""`gato report`: the HTML report of a run."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.flags import parse_flags

with epy.lazy_imports():
    from gato_jax import reports


def report(flag: flags.FlagValues, argv: Sequence[str]):
    """Write the HTML report of a run to WORKDIR/report.html: scores, training curves, rollouts, data."""
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=flag)
    parse_flags(flag, argv, required=("workdir",))

    print(reports.write_report(as_path(flag.workdir)))
