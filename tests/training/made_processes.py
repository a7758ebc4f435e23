"""The made run as one of two processes: `python -m tests.training.made_processes DATA WORKDIR MESH STEPS`."""

import pathlib
import sys

import jax

from gato_jax.training import MeshConfig, join_processes, train
from tests.training.made_run import made_config, made_mixture

if __name__ == "__main__":
    data, workdir = map(pathlib.Path, sys.argv[1:3])
    mesh = MeshConfig(**dict(zip(("data", "fsdp", "tensor"), map(int, sys.argv[3].split("x")), strict=True)))
    join_processes()
    assert jax.process_count() == 2 and jax.device_count() == 8
    config = made_config(mesh=mesh)
    train(config, made_mixture(data, config), workdir, stop_after=int(sys.argv[4]))
