"""`gato report`: the HTML report of a run, and the console of a folder of runs."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime import devices
from gato_jax.runtime.listening import ListenError, require_free, serve_until_signal, tunnel_hint
from gato_jax.runtime.paths import as_path, require_local
from gato_jax.verbs.flags import UsageError, parse_flags, require_file_path
from gato_jax.verbs.runs import require_folder

with epy.lazy_imports():
    from gato_jax import reports, web
    from gato_jax.web import console

_HOST = "127.0.0.1"


def report(flag: flags.FlagValues, argv: Sequence[str]):
    """Write the HTML report of a run to WORKDIR/report.html: scores, training curves, rollouts, data.

    --compare writes a page on several runs instead, to WORKDIR/comparison.html: the differences of their configs, their
    learning curves in one chart, and their scores side by side. --serve shows the runs of a folder in a
    browser: curves, scores, reports, films and training rows, live while they are trained.
    """
    flags.DEFINE_string("workdir", None, "Folder of the run; with --serve, of a run or of several.", flag_values=flag)
    flags.DEFINE_list(
        "compare", [], "Folders of runs to compare with the run, comma-separated. Default: none.", flag_values=flag
    )
    flags.DEFINE_string(
        "output", None, "File to write the page to. Default: report.html or comparison.html in --workdir.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "serve", None, "Port of this machine to serve the console on; 0 takes a free one. Default: write a page.",
        lower_bound=0, upper_bound=65535, flag_values=flag,
    )  # fmt: skip
    parse_flags(flag, argv, required=("workdir",))
    if flag.serve is not None:
        for name in ("compare", "output"):
            if flag[name].present:
                raise UsageError(f"--{name} does not apply with --serve, which writes no page. Leave it out.")
        _serve(require_local(flag.workdir, "--workdir", "Copy the runs, or mount the bucket."), flag.serve)
        return
    workdir = require_folder("workdir", flag.workdir)
    output = None if flag.output is None else as_path(flag.output)
    if output is not None:
        require_file_path("output", output)
    if flag.compare:
        others = [require_folder("compare", folder) for folder in flag.compare]
        print(reports.write_comparison([workdir, *others], output))
    else:
        print(reports.write_report(workdir, output))


def _serve(folder: pathlib.Path, port: int):
    """Serve the console of a folder until SIGINT or SIGTERM.

    Raises:
      UsageError: There is no run, or the port cannot be listened on.
    """
    folder = require_folder("workdir", str(folder), "a run or a folder of runs")
    if not console.find_runs(folder):
        raise UsageError(
            f"--workdir is {folder}, expected a run or a folder of runs: metrics.jsonl or checkpoints in it, or up "
            f"to {console.DEPTH} folders below. Train with `gato train --workdir={folder / 'NAME'}` first, or name "
            "another folder."
        )
    os.environ[devices.PLATFORMS] = "cpu"  # the memory of an accelerator is for the runs
    server = web.LocalServer(page=console.Console(folder).page, host=_HOST, port=port)
    try:
        if port:
            require_free(_HOST, port)
        serve_until_signal(lambda stop: server.run(stop, _announce))
    except ListenError as error:
        reason = getattr(error.__cause__, "strerror", None) or str(error)
        raise UsageError(
            f"--serve is {port}, expected a free port from 1024 on ({reason}). Name another one; --serve=0 takes "
            "a free port."
        ) from error


def _announce(address: str):
    print(f"ready {address}", flush=True)
    print(tunnel_hint(address), flush=True)
