"""Process that compiles the training step of one case and measures it when it is told; benchmarks.train_step starts it.

    python -m benchmarks.train_step_worker --case=JSON --steps=5

It speaks the protocol of benchmarks.measuring_process: a line of JSON once the step is compiled, before anything large
is allocated on the device, and a line with a result for each line on stdin.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.train_step_cases import SMALL, Case
from gato_jax.batching import Batch, Budgets
from gato_jax.batching.batch import HOST_ONLY
from gato_jax.model import ComputeConfig, ModelConfig, count_parameters, published_config
from gato_jax.planning.flops import flops_per_token
from gato_jax.training import MeshConfig, OptimizerConfig, TrainConfig
from gato_jax.training.program import make_program
from gato_jax.training.sharding import make_mesh, place_batch

WARM_UP = {"cpu": 1}  # steps that are not counted; 2 elsewhere


def main():
    """Prepare the case and answer each line of stdin with a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, help="JSON of a Case, or `device` for the limits of the device.")
    parser.add_argument("--steps", type=int, default=5, help="Number of steps to measure.")
    parser.add_argument("--profile", help="Folder for a raw profile of two more steps. Default: no profile.")
    given = parser.parse_args()
    if given.case == "device":
        from benchmarks.device_limits import prepare_device

        measure, ready = prepare_device(), {}
    else:
        measure, ready = prepare(Case(**json.loads(given.case)), given.steps, given.profile)
    print(json.dumps({"ready": True, **ready}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


def prepare(case: Case, steps: int, profile: str | None = None) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """Compile the training step of a case.

    Args:
      case: the case.
      steps: number of steps to measure.
      profile: folder for a raw profile; None for none.

    Returns:
      The function that measures from a fresh state and returns speed, losses and memory; and the facts of the program:
      its shape, and how long it took to trace and to compile it.
    """
    config = train_config(case)
    batch = made_batch(config, case.rows)
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    targets = int(batch.loss_mask.sum())
    program = make_program(config, mesh, Budgets(batch.patches.shape[1], targets), [1.0])
    with jax.set_mesh(mesh):
        started = time.perf_counter()
        lowered = program.step.lower(program.state, program.batch, program.key)
        traced = time.perf_counter()
        step = lowered.compile()
        compiled = time.perf_counter()
        init = program.init.lower(program.key).compile()
    tokens, warm_up = case.batch * case.context, WARM_UP.get(jax.default_backend(), 2)
    counted = slice(warm_up, warm_up + steps)
    facts = {
        **dataclasses.asdict(case),
        "trace_seconds": round(traced - started, 2),
        "compile_seconds": round(compiled - traced, 2),
        "flops_per_token": flops_per_token(config.model, case.context),
        "parameters": count_parameters(program.state.params),
        "targets": targets,
        "patches": int((batch.patch_slots < tokens).sum()),
        "temporary_bytes": step.memory_analysis().temp_size_in_bytes,
        "device": jax.devices()[0].device_kind,
    }

    def measure() -> dict[str, Any]:
        seconds, cpu_seconds, losses = [], [], []
        with jax.set_mesh(mesh):
            key = jax.random.key(0)
            state, placed = init(key), place_batch(mesh, batch)

            def one_step(state):
                started, cpu_started = time.perf_counter(), time.process_time()
                state, metrics = step(state, placed, key)
                losses.append(float(metrics["loss"]))
                seconds.append(time.perf_counter() - started)
                cpu_seconds.append(time.process_time() - cpu_started)
                return state

            for _ in range(counted.stop):
                state = one_step(state)
            median = float(np.median(seconds[counted]))
            if profile is not None:
                with jax.profiler.trace(str(pathlib.Path(profile) / case.name.replace(" ", "_").replace("/", "_"))):
                    one_step(one_step(state))
        return {
            "tokens_per_second": tokens / median,
            "seconds_per_step": median,
            "seconds_min": min(seconds[counted]),
            "cpu_seconds_per_step": float(np.median(cpu_seconds[counted])),
            "loss_first": losses[0],
            "loss_last": losses[counted.stop - 1],
            "peak_bytes": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
        }

    return measure, facts


def train_config(case: Case) -> TrainConfig:
    """Return the config of a case, without stochastic depth, on one device."""
    shape = ModelConfig(**SMALL[case.model]) if case.model in SMALL else published_config(case.model)
    return TrainConfig(
        seed=0, batch_size=case.batch, context=case.context, steps=1000, datasets={},
        compute=ComputeConfig(**case.compute), mesh=MeshConfig(),
        model=dataclasses.replace(shape, position=case.position, stochastic_depth=0.0),
        optimizer=OptimizerConfig(warmup_steps=10),
    )  # fmt: skip


def made_batch(config: TrainConfig, rows: str) -> Batch:
    """Build a batch of random tokens.

    Args:
      config: config of the run, for the shape of the batch.
      rows: "text" for text alone, with every token a target; "gato" for half of the rows with frames of 20 patches and
        one action each, and 30% of all tokens as targets.
    """
    rng = np.random.default_rng(0)
    shape = (config.batch_size, config.context)
    positions, row = np.arange(config.context), np.arange(config.batch_size)[:, None]
    frame = positions % 22  # 20 patches, a separator, an action
    with_images = (row % 2 == 0) if rows == "gato" else np.zeros_like(row, bool)
    is_patch = with_images & (frame < 20)[None]
    targets = np.ones(shape, bool)
    if rows == "gato":
        elsewhere = 0.6 - (frame == 21).mean()  # 30% of the tokens of all rows together are targets
        targets = np.where(with_images, frame == 21, rng.random(shape) < elsewhere)
    slots = np.flatnonzero(is_patch).astype(np.int32)
    ids = rng.integers(32_000, size=shape, dtype=np.int32)
    intervals = np.tile(np.array([0, 25, 0, 32], np.int32), (len(slots), 1))
    patches = rng.integers(256, size=(len(slots), 16, 16, 3), dtype=np.uint8)
    return Batch(
        token_ids=ids,
        target_ids=ids,
        loss_mask=targets & (positions > 0),
        local_position=np.broadcast_to(np.where(with_images, frame, 0), shape).astype(np.int32),
        segment_ids=np.ones(shape, np.int32),
        patches=patches[None],
        patch_slots=slots[None],
        patch_intervals=intervals[None],
        row_ids=np.arange(config.batch_size, dtype=np.int32),
        dataset_ids=np.zeros(config.batch_size, np.int32),
        **HOST_ONLY,
    )


if __name__ == "__main__":
    main()
