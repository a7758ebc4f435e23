"""`gato report`: the HTML report of a run."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.verbs.flags import parse_flags
from gato_jax.verbs.runs import require_folder

with epy.lazy_imports():
    from gato_jax import reports


def report(flag: flags.FlagValues, argv: Sequence[str]):
    """Write the HTML report of a run to WORKDIR/report.html: scores, training curves, rollouts, data."""
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=flag)
    parse_flags(flag, argv, required=("workdir",))
    workdir = require_folder("workdir", flag.workdir)
    print(reports.write_report(workdir))
