"""Two processes of four devices each are one run: its numbers are those of one process, which goes on from either."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from gato_jax.training import ConfigError, MeshConfig, join_processes, train
from tests.training.made_run import made_config, made_mixture

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = made_config()


def losses_of(workdir):
    return [json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def in_two_processes(data, workdir, mesh, steps):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": "2",
    }
    command = [sys.executable, "-m", "tests.training.made_processes", str(data), str(workdir), mesh, str(steps)]
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, env={**common, "JAX_PROCESS_ID": str(n)}, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for n in range(2)
    ]
    said = [process.communicate(timeout=400)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("straight")
    train(CONFIG, made_mixture(data, CONFIG), workdir, stop_after=30)
    return losses_of(workdir)


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one_and_each_goes_on_where_the_other_stopped(straight, data, tmp_path):
    in_two_processes(data, tmp_path, "1x4x2", 10)
    assert len(losses_of(tmp_path)) == 10
    assert losses_of(tmp_path) == losses_of(tmp_path / "process_1")
    one = made_config(mesh=MeshConfig(data=2, fsdp=2, tensor=2))
    train(one, made_mixture(data, one), tmp_path, stop_after=20)
    in_two_processes(data, tmp_path, "8x1x1", 30)
    np.testing.assert_allclose(losses_of(tmp_path), straight, rtol=1e-5)


@pytest.mark.parametrize(
    "variables, said",
    [
        ({"JAX_PROCESS_ID": "0"}, "JAX_PROCESS_ID set, JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES not; set all three"),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"},
            "JAX_NUM_PROCESSES must be a whole number, got 'two'",
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"},
            "JAX_PROCESS_ID 2 is not below JAX_NUM_PROCESSES 2",
        ),
    ],
)
def test_processes_that_cannot_meet_are_refused(monkeypatch, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        join_processes()
