"""`gato report`: the HTML report of a run."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.flags import parse_flags, require_file_path
from gato_jax.verbs.runs import require_folder

with epy.lazy_imports():
    from gato_jax import reports


def report(flag: flags.FlagValues, argv: Sequence[str]):
    """Write the HTML report of a run to WORKDIR/report.html: scores, training curves, rollouts, data.

    --compare writes a page on several runs instead, to WORKDIR/comparison.html: the differences of their configs, their
    learning curves in one chart, and their scores side by side.
    """
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=flag)
    flags.DEFINE_list(
        "compare", [], "Folders of runs to compare with the run, comma-separated. Default: none.", flag_values=flag
    )
    flags.DEFINE_string(
        "output", None, "File to write the page to. Default: report.html or comparison.html in --workdir.",
        flag_values=flag,
    )  # fmt: skip
    parse_flags(flag, argv, required=("workdir",))
    workdir = require_folder("workdir", flag.workdir)
    output = None if flag.output is None else as_path(flag.output)
    if output is not None:
        require_file_path("output", output)
    if flag.compare:
        others = [require_folder("compare", folder) for folder in flag.compare]
        print(reports.write_comparison([workdir, *others], output))
    else:
        print(reports.write_report(workdir, output))
