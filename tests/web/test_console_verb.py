"""Bad values of `gato report --serve`: each is refused in one line with its remedy."""

import errno
import os
import socket

import pytest
from absl import flags

from gato_jax.runtime.listening import listen_error
from gato_jax.verbs import report as verb
from gato_jax.verbs.flags import UsageError


def refusal(*words):
    with pytest.raises((UsageError, ValueError)) as error:
        verb.report(flags.FlagValues(), ["gato report", *words])
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "metrics.jsonl").touch()
    return tmp_path / "runs"


def test_a_folder_without_runs_or_in_a_bucket(tmp_path):
    assert "metrics.jsonl or checkpoints" in refusal("--serve=0", f"--workdir={tmp_path}")
    assert "does not exist" in refusal("--serve=0", f"--workdir={tmp_path / 'none'}")
    assert "expected a path on a disk" in refusal("--serve=0", "--workdir=gs://bucket/runs")


def test_flags_that_do_not_apply(runs):
    assert "--output does not apply" in refusal("--serve=0", f"--workdir={runs}", "--output=x.html")


def test_a_port_that_is_taken_or_privileged(runs, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--serve is {port}, expected a free port" in refusal(f"--serve={port}", f"--workdir={runs}")

    def refuse(host, port):
        error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise listen_error(host, port, error) from error

    monkeypatch.setattr(verb, "require_free", refuse)
    told = refusal("--serve=80", f"--workdir={runs}")
    assert "from 1024 on (Permission denied)" in told and "--serve=0" in told
