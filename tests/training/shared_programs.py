"""Training programs that are traced and compiled once for all runs of one process, on two of its eight devices.

A small run takes a few seconds, most of them to compile a training step that another test has compiled already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import pytest

from gato_jax.training import CheckpointsConfig, EvaluatorsConfig, TrainConfig, loop, program, sharding
from gato_jax.training.program import Program

# Fields of the config that the program does not depend on.
OTHER_FIELDS = {
    "seed": 0, "datasets": {}, "log_every": 1, "checkpoints": CheckpointsConfig(), "evaluators": EvaluatorsConfig(),
    "max_skipped_steps": 5, "init_from": None, "wandb": None,
}  # fmt: skip

_programs: dict[tuple, Program] = {}
_steps: dict[int, Callable] = {}  # by the id of the program, which stays alive in `_programs`


def share_programs(patch: pytest.MonkeyPatch):
    """Let runs of the same program share it, and let a mesh of all devices be one of two."""

    def make_program(config: TrainConfig, mesh, budgets, loss_weights) -> Program:
        # Of a constant learning rate only the warm-up depends on the number of steps.
        steps = config.optimizer.warmup_steps + 1 if config.optimizer.schedule == "constant" else config.steps
        text = repr(dataclasses.replace(config, **OTHER_FIELDS, steps=steps))
        key = text, mesh, budgets, tuple(loss_weights), program.make_train_step  # some tests replace the step
        if key not in _programs:
            _programs[key] = program.make_program(config, mesh, budgets, loss_weights)
        return _programs[key]

    def compile_step(made: Program, config: TrainConfig) -> Callable:
        if id(made) not in _steps:
            _steps[id(made)] = program.compile_step(made, config)
        return _steps[id(made)]

    patch.setattr(loop, "make_program", make_program)
    patch.setattr(loop, "compile_step", compile_step)
    patch.setattr(loop, "make_mesh", lambda config: sharding.make_mesh(config, jax.devices()[:2]))
